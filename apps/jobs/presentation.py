"""One table maps a job's (status, phase, kind) to the words people see (docs/design.md)."""

from __future__ import annotations

from apps.jobs.models import Attempt, Job
from apps.jobs.reasons import Reason
from apps.jobs.states import JobStatus

_AT_WORK = {"train": "Training", "evaluate": "Evaluating", "serve": "Live"}


def state_word(job: Job) -> str:
    """The state in DESIGN's vocabulary. Unknown: its host is silent, so nobody can say."""
    attempt = open_attempt(job)
    if attempt is not None and attempt.is_unknown:
        return "Unknown"
    match job.status:
        case JobStatus.QUEUED:
            return "Waiting" if any(not other.is_over for other in job.after.all()) else "Queued"
        case JobStatus.STARTING:
            return "Loading" if job.phase == "loading" else "Starting"
        case JobStatus.RUNNING if job.stalled_at is not None:
            return "Stalled"
        case JobStatus.RUNNING:
            return _AT_WORK.get(job.kind, "Running")
        case JobStatus.FAILED:
            return "Stalled" if job.reason == Reason.STALLED else "Failed"
        case JobStatus.CANCELLED:
            return "Stopped" if job.kind == "serve" else "Cancelled"
        case _:
            return JobStatus(job.status).label


def open_attempt(job: Job) -> Attempt | None:
    """The attempt that runs now; uses prefetched attempts where there are any."""
    return next((attempt for attempt in job.attempts.all() if attempt.ended_at is None), None)


def reason_sentence(job: Job) -> str:
    return Reason(job.reason).label if job.reason else ""
