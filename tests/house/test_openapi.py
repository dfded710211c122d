"""openapi.json is what the code says; a change of the API shows in its diff."""

from django.conf import settings

from stackweb.management.commands.export_openapi import openapi_text


def test_committed_openapi_is_current() -> None:
    committed = (settings.BASE_DIR / "openapi.json").read_text()
    assert committed == openapi_text(), "run: .venv/bin/python manage.py export_openapi"
