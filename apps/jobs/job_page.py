"""What the page of one job shows: timeline, attempts, exact command, files, environment, curves."""

from __future__ import annotations

import json
from typing import Any

from django.utils import timezone

from apps.engines.registry import get_engine
from apps.jobs.blobs import blob_path
from apps.jobs.environments import environment_used
from apps.jobs.job_list import job_row
from apps.jobs.kinds import handler_of
from apps.jobs.models import Attempt, Job, Output
from apps.jobs.previews import shell_lines

SHOWN_EVENTS = 200  # the newest
CHART_POINTS = 600  # of a series; a longer one is thinned evenly
MOST_RESULT = 20_000  # characters; the API has all of it
ISOLATION = {
    "cgroup": "Its processes had a cgroup of their own: all of them are found and ended with it.",
    "process_group": "Its processes were held together as a process group only: "
    "one that detaches itself may be missed where the host allows no cgroup.",
}


def job_page(job: Job, *, epoch: str = "") -> dict[str, Any]:
    """The template's context; `epoch` chooses an attempt, the newest otherwise."""
    attempts = list(job.attempts.all())
    chosen = next((each for each in attempts if str(each.epoch) == epoch), attempts[0] if attempts else None)
    command = _command(job, chosen)
    return job_row(job) | {
        # Log and command stand outside the live part: another attempt, its exact command or the end shows them anew.
        "seen": f"{len(attempts)}-{int(command['is_exact'])}-{int(job.is_over)}",
        "subject_url": handler_of(job).detail_url(job),
        "can_repeat": handler_of(job).repeats,
        "attempts": [attempt_row(attempt) for attempt in attempts],
        "attempt": chosen,
        "follows_newest": bool(attempts) and chosen is attempts[0],
        "events": list(job.events.select_related("actor").order_by("-at", "-pk")[:SHOWN_EVENTS]),
        "command": command,
        "engine": get_engine(job.engine),
        "environment": environment_used(job, chosen),
        "waits_for": [job_row(other) for other in job.after.for_display()],
        "holds_up": [job_row(other) for other in job.followers.for_display()],
        "produced": job.result.get("produced", []),
        "result_text": json.dumps(job.result, indent=1, ensure_ascii=False)[:MOST_RESULT] if job.result else "",
        "outputs": [output_row(output) for output in chosen.outputs.order_by("name")] if chosen else [],
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
        "devices": ", ".join(f"GPU {index}" for index in attempt.device_indexes) or "CPU",
        "isolation": ISOLATION.get(attempt.ran.get("isolation", ""), ""),
    }


def output_row(output: Output) -> dict[str, Any]:
    return {"output": output, "is_stored": blob_path(output.sha256).exists()}


def charted_attempt(job: Job, epoch: str = "") -> Attempt | None:
    """Whose curves are shown: the chosen attempt's if it has any, else those of the newest that has."""
    chosen = next((each for each in job.attempts.all() if str(each.epoch) == epoch), None)
    return chosen if chosen is not None and chosen.metric_points.exists() else job.measured_attempt


def metric_charts(attempt: Attempt | None) -> list[dict[str, Any]]:
    """One for each series, as static/js/charts.js draws it."""
    if attempt is None:
        return []
    return [
        {
            "id": f"series-{number}",
            "name": one["name"],
            "data": {"series": [one | {"kind": "line"}]},
            "last": one["values"][-1],
            "points": one["count"],
        }
        for number, one in enumerate(attempt.metric_points.thinned(CHART_POINTS), start=1)
    ]


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
