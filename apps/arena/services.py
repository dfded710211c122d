"""Start a battle, and vote on it once."""

from __future__ import annotations

import logging
import secrets

from celery import current_app
from django.db import IntegrityError, transaction
from kombu.exceptions import OperationalError

from apps.accounts.access import require_role
from apps.accounts.audit import audit
from apps.accounts.models import Role, Team, User
from apps.accounts.problems import conflict, invalid, unknown_choice
from apps.arena.models import Battle, Vote
from apps.serving.models import Endpoint
from apps.serving.states import endpoint_state

logger = logging.getLogger(__name__)
MAX_PROMPT = 8000  # characters
ANSWER_TASK = "arena.answer"


def live_endpoints(team: Team) -> list[Endpoint]:
    """Endpoints of the team that answer now, by name."""
    rows = Endpoint.objects.filter(team=team, wish=Endpoint.Wish.RUNNING).with_newest_job().order_by("name")
    return [endpoint for endpoint in rows if endpoint_state(endpoint).is_ready]


@transaction.atomic
def create_battle(
    *, team: Team, user: User, prompt: str, first: Endpoint | None = None, second: Endpoint | None = None
) -> Battle:
    """Asks two endpoints the same; which stands on the left is drawn. An endpoint left out is drawn too.

    Raises Problem 422 for a wrong prompt or pair, 409 where fewer than two endpoints are live.
    """
    require_role(user, Role.MEMBER, team)
    prompt = prompt.replace("\x00", "").strip()
    if not 1 <= len(prompt) <= MAX_PROMPT:
        raise invalid("prompt", f"Write 1 to {MAX_PROMPT:,} characters.", value=prompt[:100])
    left, right = _pair(team, first, second)
    battle = Battle.objects.create(team=team, created_by=user, prompt=prompt, left=left, right=right)
    audit(user, "battle.created", object_id=battle.public_id, team=team)
    transaction.on_commit(lambda: _ask_soon(battle))
    return battle


def _pair(team: Team, first: Endpoint | None, second: Endpoint | None) -> tuple[Endpoint, Endpoint]:
    live = live_endpoints(team)
    if len(live) < 2:
        raise conflict(f"A battle needs two live endpoints; {team} has {len(live)}. Start another one first.")
    for field, endpoint in (("first", first), ("second", second)):
        if endpoint is not None and endpoint not in live:
            raise invalid(field, endpoint_state(endpoint).sentence, value=endpoint.name)
    if first is not None and first == second:
        raise invalid("second", f"Choose an endpoint other than {first.name}.", value=first.name)
    dice = secrets.SystemRandom()
    chosen = [endpoint for endpoint in (first, second) if endpoint is not None]
    rest = [endpoint for endpoint in live if endpoint not in chosen]
    pair = chosen + dice.sample(rest, 2 - len(chosen))
    dice.shuffle(pair)
    return pair[0], pair[1]


def _ask_soon(battle: Battle) -> None:
    """The answers come from a Celery task: they take longer than a page may wait."""
    try:
        current_app.send_task(ANSWER_TASK, [battle.pk], queue="control", ignore_result=True, expires=120, retry=False)
    except (OperationalError, OSError) as error:
        logger.warning("The broker did not take %s: %s", battle.public_id, error)


@transaction.atomic
def vote_on_battle(*, battle: Battle, user: User, choice: str) -> Vote:
    """Raises Problem 422 for an unknown choice, 409 before both answers are there and for a second vote."""
    require_role(user, Role.MEMBER, battle.team)
    if choice not in Vote.Choice.values:
        raise unknown_choice("choice", choice, Vote.Choice.values, noun="choice")
    if battle.state == "voted":
        raise conflict(f"{battle.public_id} has its vote already.")
    if battle.state != "open":
        raise conflict(f"{battle.public_id} lacks an answer, so it takes no vote.")
    try:
        with transaction.atomic():
            vote = Vote.objects.create(battle=battle, user=user, choice=choice)
    except IntegrityError:
        raise conflict(f"{battle.public_id} has its vote already.") from None
    audit(user, "battle.voted", object_id=battle.public_id, team=battle.team)
    return vote
