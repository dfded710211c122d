"""What an admin decides, on the Hardware page, about what runs since before a restore."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from apps.accounts.actions import act
from apps.accounts.rest import signed_in
from apps.jobs.reconciling import adopt_held, end_held, end_hold


@require_POST
def held_adopt(request: HttpRequest, uuid: UUID) -> HttpResponse:
    user = signed_in(request)
    act(request, lambda: adopt_held(attempt_uuid=uuid, user=user), "Its job goes on with it.")
    return redirect("hardware")


@require_POST
def held_end(request: HttpRequest, uuid: UUID) -> HttpResponse:
    user = signed_in(request)
    act(request, lambda: end_held(attempt_uuid=uuid, user=user), "Its host ends it.")
    return redirect("hardware")


@require_POST
def hold_end(request: HttpRequest) -> HttpResponse:
    user = signed_in(request)
    act(request, lambda: end_hold(user=user), "The hold is over. What is unknown is ended.")
    return redirect("hardware")
