"""What may be taken back without the worker's word: only attempts that never started anything."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from apps.fleet.freeze import is_frozen
from apps.fleet.querysets import reconcile_hold
from apps.jobs.lifecycle import end_attempt, lock_attempt
from apps.jobs.models import Attempt
from apps.jobs.reasons import Reason

UNCLAIMED_LIMIT = timedelta(seconds=90)


def withdraw_unclaimed() -> None:
    """Attempts that a host did not claim in time go back to the queue, without counting as a loss.

    A claimed attempt of a silent host stays: its engine may still run, so its devices stay held. While
    scheduling is frozen nothing is taken back; during the hold after a restore nothing of before it, for a claim
    may have been forgotten.
    """
    if is_frozen():
        return
    waiting = Attempt.objects.open().filter(claimed_at=None, created_at__lt=timezone.now() - UNCLAIMED_LIMIT)
    if hold := reconcile_hold():
        waiting = waiting.filter(created_at__gte=hold.opened_at)
    for uuid in list(waiting.values_list("uuid", flat=True)):
        with transaction.atomic():
            attempt = lock_attempt(uuid)
            if attempt.claimed_at is None:
                end_attempt(
                    attempt,
                    exit_code=None,
                    reason=Reason.INTERRUPTED,
                    cause=f"Host {attempt.host} did not take it.",
                    result={},
                )
