"""The API docs page: its routes come from the OpenAPI description itself."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from apps.accounts.access import teams_of
from apps.accounts.models import User
from apps.accounts.rest import signed_in
from apps.serving.models import Route
from stackweb.api import api

PREFIX = "/api/v1"


@require_safe
def api_docs(request: HttpRequest) -> HttpResponse:
    page = {
        "groups": grouped_routes(api.get_openapi_schema(path_prefix=PREFIX)),
        "api_url": f"{settings.STACKWEB_URL}{PREFIX}",
        "gateway_url": f"{settings.STACKWEB_URL}/v1",
        "route_name": _a_route(signed_in(request)),
    }
    return render(request, "dashboard/api_docs.html", page)


def _a_route(user: User) -> str:
    """A route that the reader may call, so that the example works as it stands."""
    routes = Route.objects.filter(team__in=teams_of(user)).order_by("pk")
    return routes.values_list("name", flat=True).first() or "your-endpoint"


def grouped_routes(schema: dict[str, Any]) -> list[tuple[str, list[dict[str, str]]]]:
    """[(tag, [{method, path, summary}])] in the order of the description."""
    groups: dict[str, list[dict[str, str]]] = {}
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            tag = (operation.get("tags") or ["other"])[0].capitalize()
            about = operation.get("description") or operation["summary"].capitalize()
            summary = about.strip().partition("\n")[0].replace("`", "")
            route = {"method": method.upper(), "path": path.removeprefix(PREFIX), "summary": summary}
            groups.setdefault(tag, []).append(route)
    return list(groups.items())
