"""REST: jobs, their logs and metrics."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse
from ninja import Query, Router

from apps.accounts.problems import unknown_choice
from apps.accounts.rest import page_of, signed_in
from apps.jobs import services
from apps.jobs.attempt_logs import log_text, read_log
from apps.jobs.bulk import act_on_jobs
from apps.jobs.environments import environment_used
from apps.jobs.job_filters import JobFilter, check_filter, filtered_jobs
from apps.jobs.lookups import visible_job
from apps.jobs.models import Attempt, Job, JobEvent
from apps.jobs.presentation import open_attempt, reason_sentence, state_word
from apps.jobs.schemas import BulkIn, BulkOut, JobDetailOut, JobOut, JobPage, JobsIn, LogOut, SeriesOut
from apps.jobs.states import JobStatus

router = Router(tags=["jobs"])
LOG_FORMATS = ("json", "text")


def job_out(job: Job) -> dict[str, Any]:
    """A job in the shape of JobOut; also embedded by every room that answers with a job."""
    attempt = open_attempt(job) or next(iter(job.attempts.all()), None)
    return {
        "id": job.public_id,
        "kind": job.kind,
        "name": job.name,
        "engine": job.engine,
        "team": job.team.slug,
        "status": job.status,
        "state": state_word(job),
        "phase": job.phase,
        "reason": job.reason,
        "reason_sentence": reason_sentence(job),
        "cause": job.cause,
        "wait_reason": job.wait_reason if job.status == JobStatus.QUEUED else "",
        "progress": job.progress_fraction,
        "progress_done": job.progress_done,
        "progress_total": job.progress_total,
        "progress_unit": job.progress_unit,
        "host": attempt.host.name if attempt else None,
        "created_by": job.created_by.username if job.created_by else None,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "url": reverse("job", args=[job.public_id]),
    }


@router.get("/jobs", response=JobPage)
def list_jobs(request: HttpRequest, asked: Query[JobsIn], cursor: str | None = None, limit: int = 50) -> dict[str, Any]:
    """Newest first. Filters combine; `q` is part of the name, or the id."""
    user = signed_in(request)
    narrowed = JobFilter(**asked.model_dump(exclude={"status"}))
    check_filter(user, narrowed, asked.status)
    rows = filtered_jobs(user, narrowed).for_display()
    if asked.status:
        rows = rows.filter(status=asked.status)
    return page_of(rows, cursor=cursor, limit=limit, show=job_out)


@router.post("/jobs/bulk", response=BulkOut)
def act_on_many(request: HttpRequest, body: BulkIn) -> dict[str, Any]:
    """Each job by itself: one that refuses says why and holds up no other. At most 200."""
    outcomes = act_on_jobs(user=signed_in(request), action=body.action, ids=body.ids)
    return {
        "done": sum(each.problem is None for each in outcomes),
        "items": [{"id": each.id, "ok": each.problem is None, "detail": str(each.problem or "")} for each in outcomes],
    }


@router.get("/jobs/{job_id}", response=JobDetailOut)
def get_job(request: HttpRequest, job_id: str) -> dict[str, Any]:
    job = visible_job(request, job_id)
    return job_out(job) | {
        "spec": job.spec,
        "preview": job.preview,
        "result": job.result,
        "after": [other.public_id for other in job.after.all()],
        "followers": [other.public_id for other in job.followers.order_by("pk")],
        "gpus": job.gpus_needed,
        "gpu_memory_bytes": job.vram_bytes_needed,
        "spread": job.spread,
        "pinned_host": job.pinned_host.name if job.pinned_host else None,
        "environment": environment_used(job, next(iter(job.attempts.all()), None)),
        "references": job.references,
        "priority": job.priority,
        "time_limit_seconds": job.time_limit_seconds,
        "stall_seconds": job.stall_seconds,
        "stalled_at": job.stalled_at,
        "not_before": job.not_before,
        "losses": job.infrastructure_losses,
        "schedule": job.schedule.public_id if job.schedule else None,
        "attempts": [_attempt_out(attempt) for attempt in job.attempts.all()],
        "events": [_event_out(event) for event in job.events.all()],
    }


def _attempt_out(attempt: Attempt) -> dict[str, Any]:
    names = "uuid epoch phase is_unknown lease_expires_at exit_code reason cause measurements ran created_at ended_at"
    found = {name: getattr(attempt, name) for name in names.split()}
    return found | {"host": attempt.host.name, "devices": attempt.device_indexes}


def _event_out(event: JobEvent) -> dict[str, Any]:
    return {"at": event.at, "what": event.what, "detail": event.detail, "actor": event.actor_label}


@router.post("/jobs/{job_id}/cancel", response=JobOut)
def cancel_job(request: HttpRequest, job_id: str) -> dict[str, Any]:
    return job_out(services.cancel_job(job=visible_job(request, job_id), user=signed_in(request)))


@router.post("/jobs/{job_id}/retry", response=JobOut)
def retry_job(request: HttpRequest, job_id: str) -> dict[str, Any]:
    return job_out(services.retry_job(job=visible_job(request, job_id), user=signed_in(request)))


@router.get("/jobs/{job_id}/logs", response=LogOut)
def get_logs(
    request: HttpRequest, job_id: str, offset: int = 0, epoch: int | None = None, format: str = "json"
) -> dict[str, Any] | HttpResponseBase:
    """Text from a byte offset of one attempt's log (the newest unless `epoch` names another).

    `format=text` answers with all of it from there, as plain text.
    """
    if format not in LOG_FORMATS:
        raise unknown_choice("format", format, LOG_FORMATS, noun="format")
    attempts = visible_job(request, job_id).attempts.all()
    attempt = next((each for each in attempts if epoch in (None, each.epoch)), None)
    if format == "text":
        return log_text(attempt, max(0, offset))
    if attempt is None:
        return {"attempt": None, "offset": 0, "next_offset": 0, "size_bytes": 0, "text": ""}
    start = max(0, offset)
    chunk = read_log(attempt, start)
    return {
        "attempt": attempt.uuid,
        "offset": start,
        "next_offset": start + len(chunk),
        "size_bytes": attempt.log_size_bytes,
        "text": chunk.decode(errors="replace"),
    }


@router.get("/jobs/{job_id}/metrics", response=list[SeriesOut])
def get_metrics(request: HttpRequest, job_id: str, epoch: int | None = None) -> list[dict[str, Any]]:
    """The series of one attempt: of the newest that reported any, unless `epoch` names another."""
    job = visible_job(request, job_id)
    if epoch is None:
        return _series_of(job.measured_attempt)
    return _series_of(next((each for each in job.attempts.all() if each.epoch == epoch), None))


def _series_of(attempt: Attempt | None) -> list[dict[str, Any]]:
    return [one | {"epoch": attempt.epoch} for one in attempt.metric_points.as_series()] if attempt else []
