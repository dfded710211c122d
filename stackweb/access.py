"""The door: who is asking, and does the permission matrix let them in. Deny by default."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from apps.accounts.access import has_role
from apps.accounts.models import ApiToken, Role
from apps.accounts.problems import Problem
from apps.accounts.tokens import API_TOKEN, HOST_TOKEN, digest_token
from apps.fleet.models import HostToken
from stackweb.permissions import Access, access_of, methods_of
from stackweb.refusals import refuse

USE_NOTED_EVERY = timedelta(minutes=1)
SAFE = {"GET", "HEAD", "OPTIONS"}


class AccessMiddleware:
    sync_capable = True
    async_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path.startswith("/api/"):
            _identify_bearer(request)
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], args: list[Any], kwargs: dict[str, Any]
    ) -> HttpResponse | None:
        route = request.resolver_match.route if request.resolver_match else "?"  # no row: nobody passes
        try:
            _check_method(request, route)
            _check(request, access_of(request.method or "GET", route))
        except Problem as problem:
            return refuse(request, problem)
        return None


def _identify_bearer(request: HttpRequest) -> None:
    scheme, _, plain = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        return
    if plain.startswith(API_TOKEN):
        token = ApiToken.objects.alive().select_related("user").filter(digest=digest_token(plain)).first()
        if token and token.user.is_active:
            request.user = token.user
            request.api_token = token  # type: ignore[attr-defined]
            _note_use(token)
    elif plain.startswith(HOST_TOKEN):
        held = HostToken.objects.select_related("host").filter(digest=digest_token(plain), revoked_at=None)
        request.host = found.host if (found := held.first()) else None  # type: ignore[attr-defined]


def _note_use(token: ApiToken) -> None:
    """To the minute: a write for each request would cost more than many requests do."""
    now = timezone.now()
    if token.last_used_at is None or now - token.last_used_at > USE_NOTED_EVERY:
        ApiToken.objects.filter(pk=token.pk).update(last_used_at=now)


def _check_method(request: HttpRequest, route: str) -> None:
    """Raises Problem 405 where only other methods have a row; an address without any row is denied below."""
    known = methods_of(route)
    if known and request.method not in (*known, "HEAD"):
        raise Problem(405, "Method not allowed", f"This address takes {' or '.join(known)}, not {request.method}.")


def _check(request: HttpRequest, access: Access | None) -> None:
    if access is None:
        raise Problem(403, "Not allowed", "This address has no row in the permission matrix.")
    if access is Access.PUBLIC:
        return
    if access is Access.HOST:
        if getattr(request, "host", None) is None:
            raise Problem(401, "Host token needed", "Send Authorization: Bearer swh_… of a host that joined.")
        return
    _check_person(request, access)


def _check_person(request: HttpRequest, access: Access) -> None:
    user = request.user
    if not user.is_authenticated:
        raise Problem(401, "Sign-in needed", _sign_in_hint(request))
    token: ApiToken | None = getattr(request, "api_token", None)
    if request.path.startswith("/api/") and request.method not in SAFE:
        if token is None:
            raise Problem(403, "Token needed", "Changes through the API need an API token, not a session.")
        if token.scope != ApiToken.Scope.WRITE:
            raise Problem(403, "Read-only token", f"The token “{token.name}” may read only.")
    if access is Access.ADMIN and not user.is_superuser:
        raise Problem(403, "Not allowed", "Only an admin of this installation may do this.")
    if access in _ROLE_NEEDED and not has_role(user, _ROLE_NEEDED[access]):
        raise Problem(403, "Not allowed", f"This needs the role “{_ROLE_NEEDED[access].label}” in your team.")


def _sign_in_hint(request: HttpRequest) -> str:
    scheme, _, plain = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not plain:
        return "Send Authorization: Bearer swt_…; make a token in Settings."
    if not plain.startswith(API_TOKEN):
        return "This is not an API token, which begins with swt_; make one in Settings."
    return "This API token is unknown, expired or revoked, or its owner may not sign in; make a new one in Settings."


_ROLE_NEEDED = {Access.MEMBER: Role.MEMBER, Access.TEAM_ADMIN: Role.ADMIN}
