"""Repeats a job at set times: made, switched and fired here.

A time that passed while Stackweb was off fires once, not once for every time. While the last one still runs,
the next is left out.
"""

from __future__ import annotations

import logging
from typing import Protocol

from django.db import OperationalError, transaction
from django.utils import timezone

from apps.accounts.access import require_role
from apps.accounts.audit import audit
from apps.accounts.models import Role, User
from apps.accounts.problems import Problem, invalid, not_found
from apps.jobs.cron import next_time
from apps.jobs.models import Job, Schedule
from apps.jobs.repeats import check_repeatable, repeat_job

logger = logging.getLogger(__name__)


class ScheduleAction(Protocol):
    """What a button on a schedule does."""

    def __call__(self, *, schedule: Schedule, user: User) -> object: ...


@transaction.atomic
def create_schedule(*, job: Job, user: User, cron: str, zone: str = "UTC", name: str = "") -> Schedule:
    """Asks for the same as `job` again and again, in the name of `user`.

    Raises Problem 403 below member, 422 for a wrong cron expression or time zone, or a job that cannot be repeated.
    """
    require_role(user, Role.MEMBER, job.team)
    cron = " ".join(cron.split())
    if len(cron) > 100:
        raise invalid("cron", "cron must be at most 100 characters.", value=cron[:100])
    due = next_time(cron, zone, timezone.now())
    check_repeatable(job)
    schedule: Schedule = Schedule.objects.create(
        team=job.team,
        created_by=user,
        name=(name.strip() or job.name)[:200],
        job=job,
        cron=cron,
        timezone=zone,
        next_run_at=due,
    )
    _audited(schedule, user, "schedule.created", cron=cron)
    return schedule


@transaction.atomic
def enable_schedule(*, schedule: Schedule, user: User) -> Schedule:
    """It fires again from its next time on. Doing it twice is fine."""
    schedule = _locked(schedule, user)
    if not schedule.is_enabled:
        schedule.is_enabled, schedule.last_problem = True, ""
        schedule.next_run_at = next_time(schedule.cron, schedule.timezone, timezone.now())
        schedule.save(update_fields=["is_enabled", "last_problem", "next_run_at"])
        _audited(schedule, user, "schedule.enabled")
    return schedule


@transaction.atomic
def disable_schedule(*, schedule: Schedule, user: User) -> Schedule:
    """Nothing more is asked for; what runs goes on. Doing it twice is fine."""
    schedule = _locked(schedule, user)
    if schedule.is_enabled:
        schedule.is_enabled, schedule.next_run_at = False, None
        schedule.save(update_fields=["is_enabled", "next_run_at"])
        _audited(schedule, user, "schedule.disabled")
    return schedule


@transaction.atomic
def delete_schedule(*, schedule: Schedule, user: User) -> None:
    """Its jobs stay."""
    schedule = _locked(schedule, user)
    _audited(schedule, user, "schedule.deleted")
    schedule.delete()


@transaction.atomic
def run_schedule_now(*, schedule: Schedule, user: User) -> Job:
    """Once now, in the name of `user`, whatever its times are. Raises Problem where its room refuses."""
    schedule = _locked(schedule, user)
    job = repeat_job(schedule.job, user, schedule)
    _audited(schedule, user, "schedule.run", job=job.public_id)
    return job


def run_due_schedules() -> None:
    """Each due one in a transaction of its own; one that another process holds is left to it."""
    due = Schedule.objects.filter(is_enabled=True, next_run_at__lte=timezone.now())
    for pk in list(due.values_list("pk", flat=True)):
        with transaction.atomic():
            rows = Schedule.objects.select_for_update(skip_locked=True, of=("self",))
            schedule = rows.filter(pk=pk, is_enabled=True, next_run_at__lte=timezone.now()).first()
            if schedule is not None:
                _fire(schedule)


def _fire(schedule: Schedule) -> None:
    try:
        schedule.next_run_at = next_time(schedule.cron, schedule.timezone, timezone.now())
        problem = _ask_again(schedule)
    except Problem as never:  # its time zone may have left the system's list
        schedule.is_enabled, schedule.next_run_at = False, None
        problem = f"It was turned off: {never}"
        _audited(schedule, None, "schedule.disabled")
    schedule.last_problem = problem[:300]
    schedule.save(update_fields=["is_enabled", "next_run_at", "last_problem"])


def _ask_again(schedule: Schedule) -> str:
    """Why nothing was asked for; empty when a job was."""
    unfinished = schedule.jobs.filter(finished_at=None).order_by("-pk").first()
    if unfinished is not None:
        return f"{unfinished.public_id} of the time before has not ended, so no other was started."
    user = schedule.created_by
    if user is None or not user.is_active:
        return "The person who made it is no longer here. Make it again in your own name."
    try:
        with transaction.atomic():
            job = repeat_job(schedule.job, user, schedule)
            _audited(schedule, None, "schedule.fired", job=job.public_id)
    except Problem as problem:
        return str(problem)
    except OperationalError:
        raise
    except Exception:  # one schedule's trouble must not keep the others from their time
        logger.exception("%s could not be repeated", schedule.public_id)
        return "Stackweb failed while asking for it; the server's log says why."
    return ""


def _locked(schedule: Schedule, user: User) -> Schedule:
    """Raises Problem 403 below member, 404 where somebody else has just deleted it."""
    require_role(user, Role.MEMBER, schedule.team)
    rows = Schedule.objects.select_for_update(of=("self",)).select_related("job", "team")
    locked: Schedule | None = rows.filter(pk=schedule.pk).first()
    if locked is None:
        raise not_found("schedule", schedule.public_id)
    return locked


def _audited(schedule: Schedule, user: User | None, action: str, **detail: str) -> None:
    audit(
        user, action, object_id=schedule.public_id, object_name=schedule.name, team=schedule.team, detail=dict(detail)
    )
