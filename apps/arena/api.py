"""REST: battles and votes. Names stay null until the vote."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema, Status

from apps.accounts.access import team_for, visible_or_404
from apps.accounts.models import User
from apps.accounts.problems import unknown_choice
from apps.accounts.rest import create_once, page_of, signed_in
from apps.arena import services
from apps.arena.models import Battle
from apps.serving.models import Endpoint

router = Router(tags=["arena"])


class BattleIn(Schema, extra="forbid"):
    """`first` and `second` are names or ids of live endpoints; what is left out is drawn."""

    prompt: str
    first: str | None = None
    second: str | None = None
    team: str | None = None


class VoteIn(Schema, extra="forbid"):
    choice: str  # left | right | tie | both_bad


class BattleOut(Schema):
    id: str
    state: str  # waiting | open | voted | failed | lost
    prompt: str
    left_answer: str
    right_answer: str
    left: str | None
    right: str | None
    choice: str | None
    created_at: datetime


class BattlePage(Schema):
    items: list[BattleOut]
    next: str | None


def battle_out(battle: Battle) -> dict[str, Any]:
    is_voted = battle.state == "voted"
    return {
        "id": battle.public_id,
        "state": battle.state,
        "prompt": battle.prompt,
        "left_answer": battle.left_answer,
        "right_answer": battle.right_answer,
        "left": battle.left.name if is_voted else None,
        "right": battle.right.name if is_voted else None,
        "choice": battle.vote.choice if is_voted else None,
        "created_at": battle.created_at,
    }


@router.get("/arena/battles", response=BattlePage)
def list_battles(request: HttpRequest, cursor: str | None = None, limit: int = 50) -> dict[str, Any]:
    rows = Battle.objects.visible_to(signed_in(request)).select_related("left", "right", "vote")
    return page_of(rows, cursor=cursor, limit=limit, show=battle_out)


@router.post("/arena/battles", response={201: BattleOut})
def create_battle(request: HttpRequest, payload: BattleIn) -> Status[dict[str, Any]]:
    user = signed_in(request)

    def create() -> dict[str, Any]:
        battle = services.create_battle(
            team=team_for(user, payload.team),
            user=user,
            prompt=payload.prompt,
            first=endpoint_named(user, "first", payload.first),
            second=endpoint_named(user, "second", payload.second),
        )
        return battle_out(battle)

    return Status(*create_once(request, create))


@router.post("/arena/battles/{battle_id}/vote", response=BattleOut)
def vote(request: HttpRequest, battle_id: str, payload: VoteIn) -> dict[str, Any]:
    user = signed_in(request)
    rows = Battle.objects.select_related("left", "right", "team")
    battle: Battle = visible_or_404(rows, user, battle_id, noun="battle")
    services.vote_on_battle(battle=battle, user=user, choice=payload.choice)
    return battle_out(battle)


def endpoint_named(user: User, field: str, wanted: str | None) -> Endpoint | None:
    """Raises Problem 422 with the nearest name."""
    if not wanted:
        return None
    visible = Endpoint.objects.visible_to(user)
    endpoint: Endpoint | None = visible.with_public_id(wanted).first() or visible.filter(name=wanted).first()
    if endpoint is None:
        raise unknown_choice(field, wanted, visible.values_list("name", flat=True), noun="endpoint")
    return endpoint
