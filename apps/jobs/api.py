"""REST: jobs, their logs and metrics."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse
from ninja import Router

from apps.accounts.problems import unknown_choice
from apps.accounts.rest import page_of, signed_in
from apps.jobs import services
from apps.jobs.attempt_logs import log_text, read_log
from apps.jobs.lookups import visible_job
from apps.jobs.models import Attempt, Job, JobEvent, JobKind
from apps.jobs.presentation import open_attempt, reason_sentence, state_word
from apps.jobs.schemas import JobDetailOut, JobOut, JobPage, LogOut, SeriesOut
from apps.jobs.states import JobStatus

router = Router(tags=["jobs"])
LOG_FORMATS = ("json", "text")


def job_out(job: Job) -> dict[str, Any]:
    """A job in the shape of JobOut; also embedded by every room that answers with a job."""
    attempt = open_attempt(job)
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
def list_jobs(
    request: HttpRequest,
    status: str | None = None,
    kind: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> dict[str, Any]:
    rows = Job.objects.visible_to(signed_in(request)).for_display()
    if status is not None:
        if status not in JobStatus.values:
            raise unknown_choice("status", status, JobStatus.values, noun="status")
        rows = rows.filter(status=status)
    if kind is not None:
        if kind not in JobKind.values:
            raise unknown_choice("kind", kind, JobKind.values, noun="kind of job")
        rows = rows.filter(kind=kind)
    return page_of(rows, cursor=cursor, limit=limit, show=job_out)


@router.get("/jobs/{job_id}", response=JobDetailOut)
def get_job(request: HttpRequest, job_id: str) -> dict[str, Any]:
    job = visible_job(request, job_id)
    return job_out(job) | {
        "spec": job.spec,
        "preview": job.preview,
        "result": job.result,
        "after": [other.public_id for other in job.after.all()],
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
    names = "uuid epoch phase exit_code reason cause measurements ran created_at ended_at"
    return {name: getattr(attempt, name) for name in names.split()} | {"host": attempt.host.name}


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
def get_metrics(request: HttpRequest, job_id: str) -> list[dict[str, Any]]:
    return visible_job(request, job_id).metric_points.as_series()
