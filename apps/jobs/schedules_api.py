"""REST: schedules."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema, Status

from apps.accounts.problems import unknown_choice
from apps.accounts.rest import create_once, page_of, signed_in
from apps.jobs import schedules
from apps.jobs.api import job_out
from apps.jobs.lookups import visible_schedule
from apps.jobs.models import Job, Schedule
from apps.jobs.schemas import JobOut

router = Router(tags=["schedules"])


class ScheduleIn(Schema, extra="forbid"):
    """Repeats what `job` asked for; `cron` has five fields, such as "0 3 * * 1-5", in `timezone`."""

    job: str
    cron: str
    timezone: str = "UTC"
    name: str = ""  # the job's when empty


class ScheduleOut(Schema):
    id: str
    name: str
    team: str
    job: str  # what is asked again
    kind: str
    cron: str
    timezone: str
    is_enabled: bool
    next_run_at: datetime | None
    last_job: JobOut | None
    last_problem: str  # why the last time asked for nothing
    created_by: str | None
    created_at: datetime


class SchedulePage(Schema):
    items: list[ScheduleOut]
    next: str | None


def schedule_out(row: Schedule) -> dict[str, Any]:
    names = "name cron timezone is_enabled next_run_at last_problem created_at"
    last = row.jobs.for_display().order_by("-pk").first()
    return {name: getattr(row, name) for name in names.split()} | {
        "id": row.public_id,
        "team": row.team.slug,
        "job": row.job.public_id,
        "kind": row.job.kind,
        "last_job": job_out(last) if last else None,
        "created_by": row.created_by.username if row.created_by else None,
    }


@router.get("/schedules", response=SchedulePage)
def list_schedules(request: HttpRequest, cursor: str | None = None, limit: int = 50) -> dict[str, Any]:
    rows = Schedule.objects.visible_to(signed_in(request)).select_related("job", "team", "created_by")
    return page_of(rows, cursor=cursor, limit=limit, show=schedule_out)


@router.post("/schedules", response={201: ScheduleOut})
def create_schedule(request: HttpRequest, payload: ScheduleIn) -> Status[dict[str, Any]]:
    user = signed_in(request)

    def create() -> dict[str, Any]:
        visible = Job.objects.visible_to(user)
        job = visible.with_public_id(payload.job).first()
        if job is None:
            known = [each.public_id for each in visible.order_by("-pk")[:50]]
            raise unknown_choice("job", payload.job, known, noun="job")
        row = schedules.create_schedule(job=job, user=user, cron=payload.cron, zone=payload.timezone, name=payload.name)
        return schedule_out(row)

    return Status(*create_once(request, create))


@router.get("/schedules/{schedule_id}", response=ScheduleOut)
def get_schedule(request: HttpRequest, schedule_id: str) -> dict[str, Any]:
    return schedule_out(visible_schedule(request, schedule_id))


@router.post("/schedules/{schedule_id}/enable", response=ScheduleOut)
def enable_schedule(request: HttpRequest, schedule_id: str) -> dict[str, Any]:
    row = visible_schedule(request, schedule_id)
    return schedule_out(schedules.enable_schedule(schedule=row, user=signed_in(request)))


@router.post("/schedules/{schedule_id}/disable", response=ScheduleOut)
def disable_schedule(request: HttpRequest, schedule_id: str) -> dict[str, Any]:
    row = visible_schedule(request, schedule_id)
    return schedule_out(schedules.disable_schedule(schedule=row, user=signed_in(request)))


@router.post("/schedules/{schedule_id}/run", response={201: JobOut})
def run_schedule(request: HttpRequest, schedule_id: str) -> Status[dict[str, Any]]:
    """Once now, whatever its times are."""
    row = visible_schedule(request, schedule_id)

    def create() -> dict[str, Any]:
        return job_out(schedules.run_schedule_now(schedule=row, user=signed_in(request)))

    return Status(*create_once(request, create))


@router.delete("/schedules/{schedule_id}", response={204: None})
def delete_schedule(request: HttpRequest, schedule_id: str) -> Status[None]:
    schedules.delete_schedule(schedule=visible_schedule(request, schedule_id), user=signed_in(request))
    return Status(204, None)
