"""Two at the same moment, on two connections: exactly one visible effect."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from apps.accounts.models import AuditEvent, Team, User
from apps.accounts.problems import Problem
from apps.accounts.services import lock_team
from apps.fleet.models import Reservation
from apps.jobs.kinds import KindHandler, register_kind
from apps.jobs.leases import finish_attempt
from apps.jobs.models import Attempt, Job, Schedule
from apps.jobs.schedules import create_schedule, disable_schedule, run_due_schedules
from apps.jobs.schemas import FinishIn
from apps.jobs.services import cancel_job, retry_job
from apps.jobs.watching import watch_running_jobs
from tests.factories import make_job
from tests.jobs.conftest import Worker, start, submit
from tests.threads import Beside

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("redis_url")]


def finish(worker: Worker, attempt: Attempt, **end: Any) -> None:
    body = FinishIn(epoch=attempt.epoch, lease_token=attempt.lease_token, **end)
    finish_attempt(host=worker.host, attempt_uuid=attempt.uuid, body=body)


def at_once(first: Callable[[], Any], second: Callable[[], Any], *, job: Job) -> BaseException | None:
    """`second` comes to wait while `first` is under way; what the second raised."""
    with transaction.atomic():
        lock_team(job.team)  # before the job, as everybody has them
        Job.objects.select_for_update().get(pk=job.pk)
        beside = Beside(second)
        beside.until_it_waits()
        first()
    return beside.end()


def events(job: Job) -> list[str]:
    return [event.what for event in job.events.all()]


def test_two_cancels_are_one(team: Team, alice: User, worker: Worker) -> None:
    job, _ = start(team, alice, worker)
    cancel = partial(cancel_job, job=job, user=alice)
    assert at_once(cancel, cancel, job=job) is None
    assert events(job).count("Asked to stop") == 1


def test_two_cancels_of_a_waiting_job_are_one_and_a_clear_refusal(team: Team, alice: User) -> None:
    job = submit(team, alice)
    cancel = partial(cancel_job, job=job, user=alice)
    refused = at_once(cancel, cancel, job=job)
    assert isinstance(refused, Problem)
    assert (refused.status, events(job).count("Cancelled")) == (409, 1)


def test_a_cancel_that_comes_before_the_end_wins(team: Team, alice: User, worker: Worker) -> None:
    job, attempt = start(team, alice, worker)
    cancel, end = partial(cancel_job, job=job, user=alice), partial(finish, worker, attempt, exit_code=0)
    assert at_once(cancel, end, job=job) is None
    job.refresh_from_db()
    assert job.status == "cancelled"
    assert not Reservation.objects.filter(released_at=None).exists()


def test_a_cancel_that_comes_after_the_end_is_refused(team: Team, alice: User, worker: Worker) -> None:
    job, attempt = start(team, alice, worker)
    cancel, end = partial(cancel_job, job=job, user=alice), partial(finish, worker, attempt, exit_code=0)
    refused = at_once(end, cancel, job=job)
    assert isinstance(refused, Problem)
    assert (refused.status, str(refused)) == (409, f"{job.public_id} is over (done); nothing to cancel.")
    job.refresh_from_db()
    assert (job.status, job.cancel_requested_at) == ("succeeded", None)


def test_two_retries_are_one_more_try(team: Team, alice: User, worker: Worker) -> None:
    job, attempt = start(team, alice, worker)
    finish(worker, attempt, exit_code=1, reason="bad_config")
    retry = partial(retry_job, job=job, user=alice)
    refused = at_once(retry, retry, job=job)
    assert isinstance(refused, Problem)
    assert (refused.status, events(job).count("Queued again")) == (409, 1)


def test_two_ends_are_one(team: Team, alice: User, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    handler = KindHandler(on_finished=lambda job: told.append(job.status))
    monkeypatch.setattr("apps.jobs.kinds._HANDLERS", {"train": handler})
    job, attempt = start(team, alice, worker)
    first = partial(finish, worker, attempt, exit_code=0, result={"ok": True})
    second = partial(finish, worker, attempt, exit_code=1, reason="bad_config")
    assert at_once(first, second, job=job) is None
    job.refresh_from_db()
    assert (job.status, job.reason, told) == ("succeeded", "", ["succeeded"])
    assert events(job).count("Done") == 1


def test_two_losses_told_at_once_count_once(team: Team, alice: User, worker: Worker) -> None:
    job, attempt = start(team, alice, worker)
    lost = partial(finish, worker, attempt, reason="worker_lost")
    assert at_once(lost, lost, job=job) is None
    job.refresh_from_db()
    assert (job.status, job.infrastructure_losses) == ("queued", 1)


def test_a_limit_reached_during_the_end_changes_nothing(team: Team, alice: User, worker: Worker) -> None:
    job, attempt = start(team, alice, worker, time_limit_seconds=60)
    Job.objects.filter(pk=job.pk).update(status="running", progress_at=timezone.now())
    Attempt.objects.filter(pk=attempt.pk).update(claimed_at=timezone.now() - timedelta(minutes=2))
    assert at_once(partial(finish, worker, attempt, exit_code=0), watch_running_jobs, job=job) is None
    attempt.refresh_from_db()
    job.refresh_from_db()
    assert (job.status, attempt.stop_reason) == ("succeeded", "")


@pytest.fixture
def due(team: Team, alice: User, monkeypatch: pytest.MonkeyPatch) -> Schedule:
    """A due schedule of a kind that asks for a bare job."""

    def again(job: Job, user: User, schedule: Schedule) -> Job:
        return make_job(team, kind="convert", schedule=schedule)

    monkeypatch.setattr("apps.jobs.kinds._HANDLERS", {})
    register_kind("convert", KindHandler(repeat=again))
    schedule = create_schedule(job=make_job(team, kind="convert", status="succeeded"), user=alice, cron="0 3 * * *")
    Schedule.objects.filter(pk=schedule.pk).update(next_run_at=timezone.now() - timedelta(minutes=1))
    return schedule


def test_two_beats_fire_a_schedule_once(due: Schedule) -> None:
    with transaction.atomic():
        run_due_schedules()
        other = Beside(run_due_schedules)  # it leaves the row that is held alone
        assert other.end() is None
    run_due_schedules()
    assert due.jobs.count() == 1
    assert AuditEvent.objects.filter(action="schedule.fired").count() == 1


def test_a_schedule_switched_off_at_that_moment_does_not_fire(due: Schedule, alice: User) -> None:
    with transaction.atomic():
        disable_schedule(schedule=due, user=alice)
        other = Beside(run_due_schedules)
        assert other.end() is None
    run_due_schedules()
    assert not due.jobs.exists()


def test_the_last_gpu_hours_of_a_month_go_to_one_job(team: Team, alice: User) -> None:
    Team.objects.filter(pk=team.pk).update(gpu_hours_per_month=1)
    ask = partial(submit, team, alice, gpus=1, time_limit_seconds=3600)
    with transaction.atomic():
        Team.objects.select_for_update(no_key=True).get(pk=team.pk)
        beside = Beside(ask)
        beside.until_it_waits()
        ask()
    refused = beside.end()
    assert isinstance(refused, Problem)
    assert (refused.status, refused.extra["reason"]) == (403, "quota_exceeded")
    assert Job.objects.filter(team=team).count() == 1
