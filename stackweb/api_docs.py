"""The API docs page: its routes come from the OpenAPI description itself."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from stackweb.api import api

PREFIX = "/api/v1"


@require_safe
def api_docs(request: HttpRequest) -> HttpResponse:
    page = {
        "groups": grouped_routes(api.get_openapi_schema(path_prefix=PREFIX)),
        "api_url": f"{settings.STACKWEB_URL}{PREFIX}",
        "gateway_url": f"{settings.STACKWEB_URL}/v1",
    }
    return render(request, "dashboard/api_docs.html", page)


def grouped_routes(schema: dict[str, Any]) -> list[tuple[str, list[dict[str, str]]]]:
    """[(tag, [{method, path, summary}])] in the order of the description."""
    groups: dict[str, list[dict[str, str]]] = {}
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            tag = (operation.get("tags") or ["other"])[0].capitalize()
            summary = (operation.get("description") or operation["summary"]).strip().partition("\n")[0]
            route = {"method": method.upper(), "path": path.removeprefix(PREFIX), "summary": summary}
            groups.setdefault(tag, []).append(route)
    return list(groups.items())
