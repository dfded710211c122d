import json
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from stackweb.api import api
from stackweb.api_docs import PREFIX


def openapi_text() -> str:
    """The committed openapi.json: stable order, so that its diff shows what changed."""
    return json.dumps(api.get_openapi_schema(path_prefix=PREFIX + "/"), indent=1, sort_keys=True) + "\n"


class Command(BaseCommand):
    help = "Writes openapi.json at the repository root from the code."

    def handle(self, *args: Any, **options: Any) -> None:
        (settings.BASE_DIR / "openapi.json").write_text(openapi_text())
