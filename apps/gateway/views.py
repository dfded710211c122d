"""Pages of endpoints, with what the gateway metered, and the playground's chat."""

from __future__ import annotations

from asgiref.sync import sync_to_async
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST
from django.views.decorators.vary import vary_on_headers

from apps.accounts.access import has_role
from apps.accounts.htmx import part_of
from apps.accounts.models import Role
from apps.accounts.rest import signed_in
from apps.gateway.endpoint_list import endpoint_list
from apps.gateway.endpoint_page import endpoint_page
from apps.gateway.playground import stream_chat
from apps.serving.lookups import visible_endpoint
from apps.serving.models import Endpoint


@vary_on_headers("HX-Request")
def endpoints(request: HttpRequest) -> HttpResponse:
    user = signed_in(request)
    context = endpoint_list(user, show=request.GET.get("show", "all"), search=request.GET.get("q", "").strip()[:80])
    context["may_act"] = has_role(user, Role.MEMBER)
    part = part_of(request, "list")
    return render(request, f"serving/endpoints.html{part}", context)


@vary_on_headers("HX-Request")
def endpoint(request: HttpRequest, endpoint_id: str) -> HttpResponse:
    row = visible_endpoint(request, endpoint_id)
    base_url = request.build_absolute_uri("/v1")
    context = endpoint_page(row, signed_in(request), base_url=base_url)
    part = part_of(request, "live")
    return render(request, f"serving/endpoint.html{part}", context)


@require_POST
async def endpoint_chat(request: HttpRequest, endpoint_id: str) -> HttpResponse | StreamingHttpResponse:
    row = await sync_to_async(_chattable)(request, endpoint_id)
    # A form's body was read for its CSRF token and cannot be read again; the page sends JSON.
    sent = request.body if request.content_type == "application/json" else b""
    return await stream_chat(endpoint_id=row.pk, name=row.name, sent=sent)


def _chattable(request: HttpRequest, endpoint_id: str) -> Endpoint:
    rows = Endpoint.objects.editable_by(signed_in(request)).with_public_id(endpoint_id)
    row: Endpoint | None = rows.first()
    if row is None:
        raise Http404(f"There is no endpoint “{endpoint_id}”, or you may not use it.")
    return row
