"""A tour's steps as its page and the API show them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.utils import timezone

from apps.jobs.models import Job
from apps.jobs.presentation import state_word
from apps.tour.models import TourRun

_WORDS = {"waiting": "Queued", "running": "Running", "done": "Done", "failed": "Failed"}


def step_rows(tour: TourRun) -> list[dict[str, Any]]:
    jobs = _jobs(tour)
    return [_row(step, jobs.get(step["facts"].get("job", ""))) for step in tour.steps]


def _jobs(tour: TourRun) -> dict[str, Job]:
    """The steps' jobs and whatever those wait for, by public id."""
    ids = [step["facts"]["job"] for step in tour.steps if step["facts"].get("job")]
    rows = Job.objects.filter(pk__in=[int(each.rpartition("-")[2]) for each in ids]).for_display()
    return {row.public_id: row for row in rows}


def _row(step: dict[str, Any], job: Job | None) -> dict[str, Any]:
    running = step["status"] == "running"
    shown = _blocking(job) or job if job else None  # an install shows its own progress
    return {
        "key": step["key"],
        "title": step["title"],
        "status": step["status"],
        "state": state_word(job) if running and job else _WORDS[step["status"]],
        "detail": step["facts"].get("detail") or (_doing(job, shown) if running and job else ""),
        "job": job.public_id if job else None,
        "shown_job": shown,
        "progress": shown.progress_fraction if running and shown else None,
        "seconds": _seconds(step),
        "facts": step["facts"],
    }


def _blocking(job: Job) -> Job | None:
    return next((other for other in job.after.all() if not other.is_over), None) if job.status == "queued" else None


def _doing(job: Job, shown: Job | None) -> str:
    if shown is not None and shown is not job:
        return shown.name
    if job.status == "queued":
        return job.wait_reason or "next in line"
    return job.phase or "starting"


def _seconds(step: dict[str, Any]) -> float | None:
    if not step.get("started_at"):
        return None
    begun = datetime.fromisoformat(step["started_at"])
    ended = datetime.fromisoformat(step["finished_at"]) if step.get("finished_at") else timezone.now()
    return (ended - begun).total_seconds()
