"""What the page of one job shows: timeline, attempts, exact command, files, environment."""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from apps.engines.registry import get_engine
from apps.jobs.job_list import job_row
from apps.jobs.kinds import handler_of
from apps.jobs.models import Attempt, Job
from apps.jobs.previews import shell_lines


def job_page(job: Job, *, epoch: str = "") -> dict[str, Any]:
    """The template's context; `epoch` chooses an attempt, the newest otherwise."""
    attempts = list(job.attempts.all())
    chosen = next((each for each in attempts if str(each.epoch) == epoch), attempts[0] if attempts else None)
    return job_row(job) | {
        "subject_url": handler_of(job).detail_url(job),
        "can_repeat": handler_of(job).repeats,
        "attempts": [attempt_row(attempt) for attempt in attempts],
        "attempt": chosen,
        "follows_newest": bool(attempts) and chosen is attempts[0],
        "events": list(job.events.select_related("actor")),
        "command": _command(job, chosen),
        "engine": get_engine(job.engine),
        "waits_for": [job_row(other) for other in job.after.for_display()],
        "holds_up": [job_row(other) for other in job.followers.for_display()],
        "outputs": list(chosen.outputs.order_by("name")) if chosen else [],
    }


def attempt_row(attempt: Attempt) -> dict[str, Any]:
    if attempt.ended_at is None:
        state = "Unknown" if attempt.is_unknown else ("Running" if attempt.claimed_at else "Starting")
    elif attempt.reason:
        state = "Cancelled" if attempt.reason == "cancelled_by_user" else "Failed"
    else:
        state = "Done"
    end = attempt.ended_at or timezone.now()
    return {
        "attempt": attempt,
        "state": state,
        "seconds": (end - (attempt.claimed_at or attempt.created_at)).total_seconds(),
        "reason": attempt.get_reason_display() if attempt.reason else "",
    }


def _command(job: Job, attempt: Attempt | None) -> dict[str, Any]:
    """Exactly what ran, or, before the worker reported it, the preview with its placeholders."""
    ran = attempt.ran if attempt and attempt.ran else None
    source = ran or job.preview
    return {
        "is_exact": ran is not None,
        "lines": shell_lines(source.get("argv", [])),
        "env": dict(sorted(source.get("env", {}).items())),
        "files": dict(sorted(source.get("files", {}).items())),
        "env_prefix": ran.get("env_prefix", "") if ran else "",
    }
