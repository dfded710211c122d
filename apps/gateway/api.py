"""REST: virtual keys."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema, Status
from pydantic import ConfigDict, Field

from apps.accounts.access import team_for, visible_or_404
from apps.accounts.rest import create_once, page_of, signed_in
from apps.gateway import services
from apps.gateway.models import VirtualKey

router = Router(tags=["virtual keys"])


class VirtualKeyIn(Schema):
    model_config = ConfigDict(extra="forbid")

    name: str
    requests_per_minute: int | None = Field(None, description="Empty: no limit")
    team: str | None = Field(None, description="Slug of your team; your first one when empty")


class VirtualKeyOut(Schema):
    id: str
    name: str
    hint: str = Field(description="The key's first characters")
    team: str
    requests_per_minute: int | None
    created_by: str | None
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


class NewVirtualKeyOut(VirtualKeyOut):
    key: str | None = Field(description="The key itself, in this answer only; null when it is repeated")


class VirtualKeyPage(Schema):
    items: list[VirtualKeyOut]
    next: str | None


def key_out(key: VirtualKey) -> dict[str, Any]:
    names = "name hint requests_per_minute created_at last_used_at revoked_at"
    return {name: getattr(key, name) for name in names.split()} | {
        "id": key.public_id,
        "team": key.team.slug,
        "created_by": key.created_by.username if key.created_by else None,
    }


@router.get("/virtual-keys", response=VirtualKeyPage)
def list_virtual_keys(request: HttpRequest, cursor: str | None = None, limit: int = 50) -> dict[str, Any]:
    rows = VirtualKey.objects.visible_to(signed_in(request)).select_related("team", "created_by")
    return page_of(rows, cursor=cursor, limit=limit, show=key_out)


@router.post("/virtual-keys", response={201: NewVirtualKeyOut})
def create_virtual_key(request: HttpRequest, payload: VirtualKeyIn) -> Status[dict[str, Any]]:
    """A key to /v1 that reaches the team's models; its text is in this answer only."""
    user, shown_once = signed_in(request), {"key": ""}

    def create() -> dict[str, Any]:
        key, token = services.create_virtual_key(
            team=team_for(user, payload.team),
            user=user,
            name=payload.name,
            requests_per_minute=payload.requests_per_minute,
        )
        shown_once["key"] = token.plain
        return key_out(key)

    status, answer = create_once(request, create)
    return Status(status, answer | {"key": shown_once["key"] or None})


@router.delete("/virtual-keys/{key_id}", response=VirtualKeyOut)
def revoke_virtual_key(request: HttpRequest, key_id: str) -> dict[str, Any]:
    rows = VirtualKey.objects.select_related("team")
    key: VirtualKey = visible_or_404(rows, signed_in(request), key_id, noun="virtual key")
    return key_out(services.revoke_virtual_key(key=key, user=signed_in(request)))
