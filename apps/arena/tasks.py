"""The chore that lets both sides of a battle answer."""

from __future__ import annotations

from celery import shared_task

from apps.arena.answering import answer_battle
from apps.arena.services import ANSWER_TASK


@shared_task(name=ANSWER_TASK)
def answer(battle_pk: int) -> None:
    answer_battle(battle_pk)
