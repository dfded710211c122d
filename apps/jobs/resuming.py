"""A rerun goes on from what a lost attempt saved, where it lands on the same host; its timeline says which it was."""

from __future__ import annotations

from typing import Any

from apps.engines.registry import ENGINES, get_engine
from apps.fleet.models import Host
from apps.jobs.models import Attempt, Job
from apps.jobs.querysets import AttemptQuerySet
from apps.jobs.reasons import Reason
from apps.jobs.schemas import ResumedIn

ROOM_BYTES = 10_000_000_000  # free on a disk that was full before a run is sent there again


def lost_attempts(job: Job) -> AttemptQuerySet:
    """Newest first, with their hosts; none for an engine that cannot go on."""
    attempts: AttemptQuerySet = Attempt.objects.filter(job=job)
    can_go_on = job.engine in ENGINES and get_engine(job.engine).checkpoints
    return attempts.cut_off().select_related("host") if can_go_on else attempts.none()


def host_to_go_on(job: Job) -> Host | None:
    """That of the newest attempt, unless it was never begun there, failed by itself, or its full disk is still full."""
    lost: Attempt | None = lost_attempts(job).first()
    if lost is None or lost != job.attempts.first():
        return None
    is_full = lost.reason == Reason.DISK_FULL and lost.host.disk_free_bytes < ROOM_BYTES
    return None if is_full else lost.host


def beginning(attempt: Attempt, resumed: ResumedIn | None) -> dict[str, Any] | None:
    """The line of the timeline about where a rerun begins; None for a first attempt."""
    if resumed is not None:
        return {"what": f"Resumed from step {resumed.step:,} of attempt {resumed.epoch}"}
    newest = lost_attempts(attempt.job).first()
    if newest is None:
        return None
    if newest.host_id == attempt.host_id:
        detail = f"Attempt {newest.epoch} left no whole checkpoint on {newest.host.name}."
    else:
        detail = f"Whatever attempt {newest.epoch} saved lies on {newest.host.name}."
    return {"what": "Starts from zero", "detail": detail, "tone": "warn"}
