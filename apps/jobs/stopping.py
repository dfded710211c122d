"""Asks an attempt to stop although nobody cancelled its job: to run again elsewhere, or for a limit it reached."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction

from apps.accounts.models import User
from apps.jobs import doorbell
from apps.jobs.lifecycle import end_attempt, lock_attempt, note
from apps.jobs.models import Attempt
from apps.jobs.reasons import Reason
from apps.jobs.states import JobStatus


@transaction.atomic
def ask_to_move(*, attempt_uuid: UUID, why: str, actor: User | None = None, reason: str = Reason.PREEMPTED) -> bool:
    """Stops the attempt and queues its job again, without counting a loss; False when it is stopping or over.

    One that was not claimed ends at once, another when its host says that all of it is dead.
    """
    attempt = lock_attempt(attempt_uuid)
    if attempt.ended_at is not None or attempt.stop_reason or attempt.job.status == JobStatus.CANCELLING:
        return False
    if attempt.claimed_at is None:
        end_attempt(attempt, exit_code=None, reason=reason, cause=why, result={})
        return True
    Attempt.objects.filter(pk=attempt.pk).update(stop_reason=reason)
    note(attempt.job, "Asked to stop and run again", detail=why, tone="warn", actor=actor, attempt=attempt)
    doorbell.wake_host(attempt.host)
    return True


@transaction.atomic
def ask_to_end(*, attempt_uuid: UUID, status: str, reason: Reason, why: str) -> bool:
    """Stops a claimed attempt for good or ill, as its kind's policy has it; False when it is stopping or over, or its
    job is no longer in `status`, in which it reached a limit."""
    attempt = lock_attempt(attempt_uuid)
    if attempt.ended_at is not None or attempt.stop_reason or attempt.job.status != status:
        return False
    Attempt.objects.filter(pk=attempt.pk).update(stop_reason=reason)
    note(attempt.job, "Asked to stop", detail=why, tone="warn", attempt=attempt)
    doorbell.wake_host(attempt.host)
    return True
