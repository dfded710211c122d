"""How long a job may take to start, may stand still, and may run: its own limits, else its kind's."""

from __future__ import annotations

from apps.accounts.problems import invalid
from apps.jobs.models import Job
from apps.jobs.policies import POLICIES, STALL_RANGE, TIME_LIMIT_RANGE
from apps.jobs.reasons import Reason
from apps.jobs.states import JobStatus


def check_limits(kind: str, *, time_limit_seconds: int | None, stall_seconds: int | None) -> None:
    """Raises Problem 422 for a limit out of range, and for one that a server cannot have."""
    for field, value, (low, high) in (
        ("time_limit_seconds", time_limit_seconds, TIME_LIMIT_RANGE),
        ("stall_seconds", stall_seconds, STALL_RANGE),
    ):
        if value is None:
            continue
        if kind == "serve":
            raise invalid(field, "An endpoint runs until it is stopped; leave this out.", value=value)
        if not low <= value <= high:
            raise invalid(field, f"{field} must be between {low} and {high:,} seconds, or left out.", value=value)


def stall_seconds_of(job: Job) -> int:
    """Without progress for longer it counts as stalled; 0: its progress is not watched."""
    return POLICIES[job.kind].stall_seconds if job.stall_seconds is None else job.stall_seconds


def ordered_stall_seconds(job: Job) -> int:
    """After which its host ends it; 0 where a stall is only shown."""
    return stall_seconds_of(job) if POLICIES[job.kind].on_stall == "end" else 0


def limit_sentence(job: Job, reason: str) -> str:
    """Why Stackweb had a job ended whose limit was reached; empty for other reasons."""
    if reason == Reason.STALLED:
        return f"No progress for {spoken(stall_seconds_of(job))}."
    if reason != Reason.TIMED_OUT:
        return ""
    if job.status == JobStatus.STARTING:
        return f"It did not start within {spoken(POLICIES[job.kind].start_timeout_seconds)}."
    return f"It ran for {spoken(job.time_limit_seconds or 0)}, its time limit."


def spoken(seconds: int) -> str:
    """In the largest unit that divides it: 7200 is "2 h"."""
    for size, unit in ((24 * 3600, "d"), (3600, "h"), (60, "min")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
