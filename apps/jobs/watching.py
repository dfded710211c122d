"""The server's own look at jobs that stand still or run too long.

A host ends such a job itself; this sees it also when the host's agent does not, shows it, and then asks.
A silent host is never asked: what it could not tell may be progress, and is judged once it reports again. Where the
clock of this machine is set while this process lives, nobody knows how long ago the moments noted before were: they
count from then on.
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from apps.jobs.lifecycle import note
from apps.jobs.models import Attempt, Job
from apps.jobs.policies import POLICIES
from apps.jobs.reasons import Reason
from apps.jobs.states import JobStatus
from apps.jobs.stopping import ask_to_end
from apps.jobs.time_limits import limit_sentence, ordered_stall_seconds, spoken, stall_seconds_of

HOST_FIRST = timedelta(minutes=2)  # a host gets this long to end it by itself
CLOCK_SET_SECONDS = 30.0  # off by more between two looks, a clock was set or its machine slept


class Clock:
    """Of this machine, and when it was last set while this process looked."""

    def __init__(self) -> None:
        self.set_at: datetime | None = None
        self._ahead: float | None = None  # seconds, of the monotonic clock

    def look(self) -> datetime:
        now = timezone.now()
        ahead = now.timestamp() - time.monotonic()
        if self._ahead is not None and abs(ahead - self._ahead) > CLOCK_SET_SECONDS:
            self.set_at = now
        self._ahead = ahead
        return now


_clock = Clock()


def watch_running_jobs() -> None:
    """Marks what stands still, and asks hosts to end what went past a limit."""
    now = _clock.look()
    claimed = Attempt.objects.open().exclude(claimed_at=None).filter(stop_reason="", job__cancel_requested_at=None)
    for attempt in claimed.select_related("job").iterator():
        job: Job = attempt.job
        if job.status == JobStatus.RUNNING:
            _mark_stall(job, now)
        reason = None if attempt.is_unknown else _limit_reached(attempt, job, now)
        if reason:
            why = limit_sentence(job, reason)
            ask_to_end(attempt_uuid=attempt.uuid, status=job.status, reason=reason, why=why)


def _moved_at(job: Job, now: datetime) -> datetime | None:
    moved: datetime | None = job.progress_at or job.started_at
    return moved and _counted_from(moved, now)


def _counted_from(moment: datetime, now: datetime) -> datetime:
    """That moment, or when the clock was set since; of a moment yet to come nothing is known."""
    past = [each for each in (moment, _clock.set_at) if each is not None and each <= now]
    return max(past, default=now)


@transaction.atomic
def _mark_stall(job: Job, now: datetime) -> None:
    limit, moved = stall_seconds_of(job), _moved_at(job, now)
    if job.stalled_at is not None or not limit or moved is None or now - moved <= timedelta(seconds=limit):
        return
    # Only if it did not move in the meantime.
    same = Job.objects.filter(pk=job.pk, status=JobStatus.RUNNING, progress_at=job.progress_at, stalled_at=None)
    if same.update(stalled_at=moved):
        note(job, "Stalled", detail=f"No progress for {spoken(limit)}.", tone="warn")


def _limit_reached(attempt: Attempt, job: Job, now: datetime) -> Reason | None:
    claimed = _counted_from(attempt.claimed_at or now, now)
    if job.status == JobStatus.STARTING:
        limit = timedelta(seconds=POLICIES[job.kind].start_timeout_seconds)
        return Reason.TIMED_OUT if now - claimed > limit + HOST_FIRST else None
    if job.status != JobStatus.RUNNING:
        return None
    if job.time_limit_seconds and now - claimed > timedelta(seconds=job.time_limit_seconds):
        return Reason.TIMED_OUT
    if POLICIES[job.kind].is_talk_progress:  # its log may be on its way: only the host can tell
        return None
    stall, moved = ordered_stall_seconds(job), _moved_at(job, now)
    if stall and moved is not None and now - moved > timedelta(seconds=stall) + HOST_FIRST:
        return Reason.STALLED
    return None
