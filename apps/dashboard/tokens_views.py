"""Settings, Tokens and keys: each secret is in the answer to its creation and nowhere else."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from apps.accounts.access import administered_teams, has_role, team_for, team_or_none, teams_of
from apps.accounts.hub_tokens import forget_hub_token, hub_tokens_of, readable, save_hub_token
from apps.accounts.models import ApiToken, Role
from apps.accounts.problems import Problem, invalid
from apps.accounts.rest import signed_in
from apps.accounts.services import create_api_token, revoke_api_token
from apps.fleet.joining import is_reachable, join_command
from apps.fleet.services import create_join_token
from apps.gateway.models import VirtualKey
from apps.gateway.services import create_virtual_key, revoke_virtual_key

LIVES = {"7": "in 7 days", "90": "in 90 days", "": "never"}


def _tokens_page(request: HttpRequest, *, status: int = 200, **more: Any) -> HttpResponse:
    user = signed_in(request)
    page = {
        "tokens": ApiToken.objects.seen_by(user).alive().select_related("user").order_by("-pk"),
        "keys": VirtualKey.objects.visible_to(user)
        .filter(revoked_at=None)
        .select_related("team", "created_by")
        .order_by("-pk"),
        "teams": teams_of(user),
        "hub_tokens": [(row, bool(readable(row))) for row in hub_tokens_of(user, teams_of(user))],
        "administered": administered_teams(user),
        "may_create_keys": has_role(user, Role.MEMBER),
        "lives": LIVES.items(),
        "is_reachable": is_reachable(),
        "values": request.POST,
    }
    return render(request, "settings/tokens.html", page | more, status=status)


@never_cache
@require_safe
def settings_tokens(request: HttpRequest) -> HttpResponse:
    return _tokens_page(request)


@never_cache
@require_POST
def token_create(request: HttpRequest) -> HttpResponse:
    days = request.POST.get("days", "")
    ends = timezone.now() + timedelta(days=int(days)) if days in LIVES and days else None
    try:
        row, token = create_api_token(
            user=signed_in(request),
            name=request.POST.get("name", ""),
            scope=request.POST.get("scope", ApiToken.Scope.WRITE),
            expires_at=ends,
        )
    except Problem as problem:
        return _tokens_page(request, status=problem.status, problem=problem, at="token")
    return _tokens_page(request, secret=token.plain, shown=f"API token “{row.name}”")


@require_POST
def token_revoke(request: HttpRequest, token_id: int) -> HttpResponse:
    try:
        revoke_api_token(actor=signed_in(request), token_id=token_id)
    except Problem as problem:
        return _tokens_page(request, status=problem.status, problem=problem, at="token")
    return redirect("settings_tokens")


@never_cache
@require_POST
def hub_token_save(request: HttpRequest) -> HttpResponse:
    user, sent = signed_in(request), request.POST
    try:
        row = save_hub_token(actor=user, token=sent.get("token", ""), team=team_or_none(user, sent.get("team", "")))
    except Problem as problem:
        return _tokens_page(request, status=problem.status, problem=problem, at="hub")
    messages.success(request, f"{row} is saved.")
    return redirect("settings_tokens")


@require_POST
def hub_token_forget(request: HttpRequest) -> HttpResponse:
    user = signed_in(request)
    try:
        forget_hub_token(actor=user, team=team_or_none(user, request.POST.get("team", "")))
    except Problem as problem:
        return _tokens_page(request, status=problem.status, problem=problem, at="hub")
    return redirect("settings_tokens")


@never_cache
@require_POST
def key_create(request: HttpRequest) -> HttpResponse:
    user, sent = signed_in(request), request.POST
    try:
        key, token = create_virtual_key(
            team=team_for(user, sent.get("team")),
            user=user,
            name=sent.get("name", ""),
            requests_per_minute=_limit(sent.get("requests_per_minute", "").strip()),
        )
    except Problem as problem:
        return _tokens_page(request, status=problem.status, problem=problem, at="key")
    return _tokens_page(request, secret=token.plain, shown=f"Virtual key “{key.name}”")


def _limit(text: str) -> int | None:
    """Empty is no limit. Raises Problem 422 for anything but a number."""
    if text and not (text.isascii() and text.isdigit() and len(text) < 10):
        raise invalid("requests_per_minute", "Give a whole number, or nothing for no limit.", value=text[:20])
    return int(text) if text else None


@require_POST
def key_revoke(request: HttpRequest, key_id: str) -> HttpResponse:
    user = signed_in(request)
    rows = VirtualKey.objects.visible_to(user).select_related("team")
    try:
        revoke_virtual_key(key=get_object_or_404(rows.with_public_id(key_id)), user=user)
    except Problem as problem:
        return _tokens_page(request, status=problem.status, problem=problem, at="key")
    return redirect("settings_tokens")


@never_cache
@require_POST
def join_token_create(request: HttpRequest) -> HttpResponse:
    _, token = create_join_token(user=signed_in(request))
    return _tokens_page(request, secret=join_command(token), shown="Command for one new host")
