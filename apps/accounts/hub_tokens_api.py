"""REST: Hub tokens of the caller and of their teams. A token's text is in no answer."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from ninja import Field, Router, Schema, Status

from apps.accounts.access import team_or_none, teams_of
from apps.accounts.hub_tokens import forget_hub_token, hub_tokens_of, readable, save_hub_token
from apps.accounts.models import HubToken
from apps.accounts.rest import signed_in

router = Router(tags=["people"])


class HubTokenIn(Schema, extra="forbid"):
    token: str = Field(description="hf_…; stored encrypted, and never shown again")
    team: str = Field("", description="slug of a team whose admin you are; empty: your own")


class HubTokenOut(Schema):
    team: str | None  # null: the caller's own
    hint: str
    saved_by: str | None
    saved_at: datetime
    is_readable: bool  # false after the installation's key has changed: save it again


def _out(row: HubToken) -> dict[str, Any]:
    return {
        "team": row.team.slug if row.team else None,
        "hint": row.hint,
        "saved_by": row.saved_by.username if row.saved_by else None,
        "saved_at": row.saved_at,
        "is_readable": bool(readable(row)),
    }


@router.get("/hub-tokens", response=list[HubTokenOut])
def list_hub_tokens(request: HttpRequest) -> list[dict[str, Any]]:
    user = signed_in(request)
    return [_out(row) for row in hub_tokens_of(user, teams_of(user))]


@router.put("/hub-tokens", response=HubTokenOut)
def put_hub_token(request: HttpRequest, payload: HubTokenIn) -> dict[str, Any]:
    """Saves a token in place of the one before."""
    user = signed_in(request)
    return _out(save_hub_token(actor=user, token=payload.token, team=team_or_none(user, payload.team)))


@router.delete("/hub-tokens", response={204: None})
def delete_hub_token(request: HttpRequest, team: str = "") -> Status[None]:
    user = signed_in(request)
    forget_hub_token(actor=user, team=team_or_none(user, team))
    return Status(204, None)
