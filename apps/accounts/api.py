"""People, teams and API tokens over REST."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Router, Schema, Status

from apps.accounts.access import team_for, teams_of
from apps.accounts.models import ApiToken, Team, User
from apps.accounts.moments import Moment
from apps.accounts.people import change_person, invite_person, renewed_link, role_of
from apps.accounts.rest import create_once, page_of, signed_in
from apps.accounts.services import create_api_token, create_team, revoke_api_token

router = Router(tags=["People and tokens"])


class TeamOut(Schema):
    name: str
    slug: str


class TeamIn(Schema, extra="forbid"):
    name: str


class UserOut(Schema):
    id: str
    username: str
    display_name: str
    is_admin: bool
    is_active: bool
    roles: dict[str, str]  # team slug -> role, of the teams that the caller sees


class UserPage(Schema):
    items: list[UserOut]
    next: str | None


class UserIn(Schema, extra="forbid"):
    username: str
    display_name: str = ""
    team: str | None = None
    role: str = "member"


class UserCreatedOut(UserOut):
    claim_url: str | None  # works once, for 24 hours; null in a repeated answer


class UserPatchIn(Schema, extra="forbid"):
    roles: dict[str, str | None] = {}  # team slug -> role; null takes the person out of the team
    is_admin: bool | None = None
    is_active: bool | None = None


class TokenIn(Schema, extra="forbid"):
    name: str
    scope: str = "write"
    expires_at: Moment | None = None


class TokenOut(Schema):
    id: str
    name: str
    scope: str
    hint: str
    user: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class TokenPage(Schema):
    items: list[TokenOut]
    next: str | None


class TokenCreatedOut(TokenOut):
    token: str | None  # shown once; null in a repeated answer


def _user(row: User, teams: list[Team]) -> dict[str, Any]:
    """`teams` are those the caller sees."""
    slugs = {team.pk: team.slug for team in teams}
    return {
        "id": str(row.pk),
        "username": row.username,
        "display_name": row.display_name,
        "is_admin": row.is_superuser,
        "is_active": row.is_active,
        "roles": {slugs[held.team_id]: held.role for held in row.memberships.all() if held.team_id in slugs},
    }


def _token(row: ApiToken) -> dict[str, Any]:
    names = ("name", "scope", "hint", "created_at", "expires_at", "revoked_at", "last_used_at")
    return {"id": str(row.pk), "user": row.user.username} | {name: getattr(row, name) for name in names}


@router.get("/teams", response=list[TeamOut], summary="List teams")
def list_teams(request: HttpRequest) -> list[Team]:
    return teams_of(signed_in(request))


@router.post("/teams", response={201: TeamOut}, summary="Create a team")
def post_team(request: HttpRequest, payload: TeamIn) -> Status[dict[str, Any]]:
    def create() -> dict[str, Any]:
        team = create_team(actor=signed_in(request), name=payload.name)
        return {"name": team.name, "slug": team.slug}

    return Status(*create_once(request, create))


@router.get("/users", response=UserPage)
def list_users(request: HttpRequest, cursor: str | None = None, limit: int = 50) -> dict[str, Any]:
    viewer = signed_in(request)
    rows, teams = User.objects.seen_by(viewer).prefetch_related("memberships"), teams_of(viewer)
    return page_of(rows, cursor=cursor, limit=limit, show=lambda row: _user(row, teams))


@router.post("/users", response={201: UserCreatedOut}, summary="Add a person")
def post_user(request: HttpRequest, payload: UserIn) -> Status[dict[str, Any]]:
    actor, shown_once = signed_in(request), {"claim_url": ""}

    def create() -> dict[str, Any]:
        person, shown_once["claim_url"] = invite_person(
            actor=actor,
            username=payload.username,
            display_name=payload.display_name,
            team=team_for(actor, payload.team),
            role=role_of(payload.role),
        )
        return _user(person, teams_of(actor))

    status, answer = create_once(request, create)
    return Status(status, answer | {"claim_url": shown_once["claim_url"] or None})


@router.patch("/users/{user_id}", response=UserOut, summary="Change a person")
def patch_user(request: HttpRequest, user_id: int, payload: UserPatchIn) -> dict[str, Any]:
    actor = signed_in(request)
    person = get_object_or_404(User.objects.seen_by(actor), pk=user_id)
    change_person(
        actor=actor,
        person=person,
        roles={team_for(actor, slug): role_of(role) if role else None for slug, role in payload.roles.items()},
        is_admin=person.is_superuser if payload.is_admin is None else payload.is_admin,
        is_active=person.is_active if payload.is_active is None else payload.is_active,
    )
    return _user(person, teams_of(actor))


@router.post("/users/{user_id}/claim-link", response={201: UserCreatedOut})
def post_claim_link(request: HttpRequest, user_id: int) -> Status[dict[str, Any]]:
    """A new one-time link with which the person sets a password; it replaces an unused one."""
    actor = signed_in(request)
    person = get_object_or_404(User.objects.seen_by(actor), pk=user_id)
    return Status(201, _user(person, teams_of(actor)) | {"claim_url": renewed_link(actor=actor, person=person)})


@router.get("/tokens", response=TokenPage)
def list_tokens(request: HttpRequest, cursor: str | None = None, limit: int = 50) -> dict[str, Any]:
    rows = ApiToken.objects.seen_by(signed_in(request)).select_related("user")
    return page_of(rows, cursor=cursor, limit=limit, show=_token)


@router.post("/tokens", response={201: TokenCreatedOut})
def post_token(request: HttpRequest, payload: TokenIn) -> Status[dict[str, Any]]:
    """A token with the caller's own rights; its text is in this answer only."""
    shown_once = {"token": ""}

    def create() -> dict[str, Any]:
        row, token = create_api_token(user=signed_in(request), **payload.model_dump())
        shown_once["token"] = token.plain
        return _token(row)

    status, answer = create_once(request, create)
    return Status(status, answer | {"token": shown_once["token"] or None})


@router.delete("/tokens/{token_id}", response={204: None}, summary="Revoke a token")
def delete_token(request: HttpRequest, token_id: int) -> Status[None]:
    revoke_api_token(actor=signed_in(request), token_id=token_id)
    return Status(204, None)
