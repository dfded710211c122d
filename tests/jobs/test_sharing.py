"""Who goes first, who makes room, what is kept for the one that waits longest, and what each is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.accounts.models import Team, User
from apps.accounts.problems import Problem
from apps.fleet.models import Reservation
from apps.jobs.models import Attempt, Job
from apps.jobs.quotas import next_month, set_quota, usage_of
from apps.jobs.scheduling import place_waiting_jobs
from apps.jobs.services import cancel_job, retry_job
from tests.factories import GIB, make_attempt, make_host, make_job, make_user
from tests.jobs.conftest import Worker, submit


@pytest.fixture
def middle_of_the_month(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock goes on from the noon of a 15th: what began some hours ago began in this month."""
    began = datetime.now(UTC)
    ahead = began.replace(day=15, hour=12) - began
    monkeypatch.setattr(timezone, "now", lambda: datetime.now(UTC) + ahead)


def placed(job: Job) -> Attempt:
    place_waiting_jobs()
    attempt: Attempt = job.attempts.get(ended_at=None)
    return attempt


def fresh(job: Job) -> Job:
    job.refresh_from_db()
    return job


def gpus(worker: Worker, count: int, **fields: Any) -> None:
    for index in range(count):
        worker.host.devices.create(
            kind="gpu", index=index, uuid=f"GPU-{index}", name="H100", **{"memory_bytes": 80 * GIB} | fields
        )


def claimed(worker: Worker, job: Job) -> Attempt:
    attempt = placed(job)
    worker.claim(attempt)
    attempt.refresh_from_db()
    return attempt


def test_a_server_stops_evaluations_and_gets_their_gpus_when_they_are_dead(
    team: Team, alice: User, worker: Worker
) -> None:
    gpus(worker, 2)
    evaluation = submit(team, alice, kind="evaluate", gpus=2)
    attempt = claimed(worker, evaluation)
    server = submit(team, alice, kind="serve", gpus=1)
    place_waiting_jobs()
    attempt.refresh_from_db()
    assert (attempt.stop_reason, attempt.ended_at) == ("preempted", None)
    assert fresh(server).wait_reason == f"Waits until {evaluation.public_id} has stopped on atlas."
    beat = {"uuid": str(attempt.uuid), "epoch": attempt.epoch, "lease_token": attempt.lease_token}
    assert worker.call("POST", "heartbeat", {"attempts": [beat]}).json()["attempts"][0]["answer"] == "cancel"
    place_waiting_jobs()
    assert not server.attempts.exists(), "asked to stop is not dead"
    assert worker.finish(attempt, exit_code=-15, reason="cancelled_by_user").status_code == 200
    place_waiting_jobs()
    assert fresh(server).status == "starting"
    assert (fresh(evaluation).status, evaluation.infrastructure_losses) == ("queued", 0)
    told = evaluation.events.get(what="Asked to stop and run again").detail
    assert told == f"Makes room for {server.public_id}, {server.name}"


@pytest.mark.parametrize(("kind", "priority"), [("train", 0), ("evaluate", 5)])
def test_training_and_more_urgent_work_go_on(team: Team, alice: User, worker: Worker, kind: str, priority: int) -> None:
    gpus(worker, 1)
    attempt = claimed(worker, submit(team, alice, kind=kind, gpus=1, priority=priority))
    submit(team, alice, kind="serve", gpus=1)
    place_waiting_jobs()
    attempt.refresh_from_db()
    assert attempt.stop_reason == ""


def test_an_evaluation_fills_what_is_idle_but_never_goes_before_work(team: Team, alice: User) -> None:
    make_host("brio", gpus=1)
    evaluation = submit(team, alice, kind="evaluate", gpus=1)
    training = submit(team, alice, kind="train", gpus=1)
    place_waiting_jobs()
    assert (fresh(training).status, fresh(evaluation).status) == ("starting", "queued")


def test_small_jobs_pass_a_large_one_until_it_has_waited_long(team: Team, alice: User, worker: Worker) -> None:
    gpus(worker, 2)
    first = submit(team, alice, gpus=1, time_limit_seconds=3600)
    claimed(worker, first)
    large = submit(team, alice, gpus=2)
    small = submit(team, alice, gpus=1)
    place_waiting_jobs()
    assert fresh(small).status == "starting", "it has not waited long yet"
    worker.claim(small.attempts.get())
    worker.finish(small.attempts.get(), exit_code=0, result={"ok": True})
    Job.objects.filter(pk=large.pk).update(created_at=timezone.now() - timedelta(minutes=6))
    unbounded = submit(team, alice, gpus=1)
    long = submit(team, alice, gpus=1, time_limit_seconds=7200)
    short = submit(team, alice, gpus=1, time_limit_seconds=600)
    place_waiting_jobs()
    assert [fresh(job).status for job in (large, unbounded, long, short)] == ["queued", "queued", "queued", "starting"]
    assert large.expected_start_at is not None
    assert abs(large.expected_start_at - timezone.now() - timedelta(hours=1)) < timedelta(minutes=1)
    assert large.wait_hint.startswith("atlas frees 2 GPUs at about ")
    assert large.wait_hint.endswith(f"when {short.public_id} and {first.public_id} end.")


def test_nothing_is_kept_for_a_job_that_only_a_servers_end_would_let_in(
    team: Team, alice: User, worker: Worker
) -> None:
    gpus(worker, 2)
    claimed(worker, submit(team, alice, kind="serve", gpus=1))
    large = submit(team, alice, gpus=2)
    Job.objects.filter(pk=large.pk).update(created_at=timezone.now() - timedelta(hours=1))
    small = submit(team, alice, gpus=1)
    place_waiting_jobs()
    assert (fresh(small).status, fresh(large).expected_start_at) == ("starting", None)


def test_what_would_start_it_is_said_and_true(team: Team, alice: User) -> None:
    make_host("brio", gpus=2)
    make_host("flint", gpus=4, cordoned=True, cordon_reason="driver update")
    job = submit(team, alice, gpus=4)
    place_waiting_jobs()
    assert fresh(job).wait_reason == "Needs 4 GPUs on one host; brio has 2 GPUs."
    assert job.wait_hint == (
        "Starts now on brio with 2 GPUs. Starts now once flint is uncordoned: it is cordoned: driver update."
    )
    Job.objects.filter(pk=job.pk).update(gpus_needed=2)
    place_waiting_jobs()
    assert (fresh(job).status, job.wait_reason, job.wait_hint) == ("starting", "", "")


def test_slots_of_a_gpu_are_given_out_one_by_one(team: Team, alice: User, worker: Worker) -> None:
    gpus(worker, 1, slots=4)
    jobs = [submit(team, alice, gpus=1, vram_bytes=40 * GIB) for _ in range(3)]
    place_waiting_jobs()
    assert [fresh(job).status for job in jobs] == ["starting", "starting", "queued"]
    live = Reservation.objects.filter(released_at=None).values_list("slot", flat=True)
    assert sorted(live) == [0, 1, 2, 3]


def test_thousands_that_wait_for_the_same_cost_the_queries_of_a_few_and_are_written_once(team: Team) -> None:
    make_host("brio", gpus=1)
    few = queries_of_a_look(team, more=30)
    many = queries_of_a_look(team, more=3000)
    assert Job.objects.filter(wait_reason="Needs 8 GPUs on one host; brio has 1 GPU.").count() == 3030
    again = queries_of_a_look(team, more=0)
    assert len(many) <= len(few) <= 21, "\n".join(few)
    assert not [query for query in again if query.startswith("UPDATE")]


def queries_of_a_look(team: Team, *, more: int) -> list[str]:
    """What the look asks of the database after so many more jobs have come, none of which has room."""
    Job.objects.bulk_create(
        Job(team=team, kind="train", name="t", engine="fake-train", spec={}, gpus_needed=8) for _ in range(more)
    )
    with CaptureQueriesContext(connection) as asked:
        place_waiting_jobs()
    return [query["sql"] for query in asked if not query["sql"].startswith(("SAVEPOINT", "RELEASE"))]


@pytest.mark.usefixtures("middle_of_the_month")
def test_gpu_hours_that_are_used_up_refuse_at_submit_and_hold_back_what_waits(team: Team, alice: User) -> None:
    host = make_host("brio", gpus=2)
    waiting = submit(team, alice, gpus=1)
    now = timezone.now()
    done = make_job(team, status="succeeded")
    make_attempt(done, host, device_indexes=[0, 1], claimed_at=now - timedelta(minutes=30), ended_at=now)
    on_cpu = make_job(team, status="succeeded")
    make_attempt(on_cpu, host, claimed_at=now - timedelta(minutes=30), ended_at=now)
    set_quota(team=team, user=make_user(is_superuser=True), gpus_at_once=None, gpu_hours_per_month=2)
    with pytest.raises(Problem) as over:
        submit(team, alice, gpus=2, time_limit_seconds=1860)
    assert (over.value.status, over.value.extra["reason"]) == (403, "quota_exceeded")
    assert (over.value.extra["used_gpu_hours"], over.value.extra["asked_gpu_hours"]) == (1.0, 1.033)
    with pytest.raises(Problem, match=r"this job asks for 2\.0, an hour on each GPU as it has no time limit"):
        submit(team, alice, gpus=2)
    submit(team, alice, gpus=0)
    Attempt.objects.filter(job=done).update(claimed_at=now - timedelta(hours=1))
    place_waiting_jobs()
    assert fresh(waiting).wait_reason == f"Team {team} has used 2 of its 2 GPU-hours this month."
    assert waiting.expected_start_at == next_month(now)


@pytest.mark.usefixtures("middle_of_the_month")
def test_a_job_without_a_time_limit_reserves_an_hour_until_it_has_used_it(team: Team, alice: User) -> None:
    host = make_host("brio", gpus=2)
    set_quota(team=team, user=make_user(is_superuser=True), gpus_at_once=None, gpu_hours_per_month=3)
    job = submit(team, alice, gpus=2)
    now = timezone.now()
    assert usage_of(team, now).expected_gpu_hours == 2
    with pytest.raises(Problem) as over:
        submit(team, alice, gpus=2)
    assert over.value.extra["reserved_gpu_hours"] == 2
    attempt = make_attempt(job, host, device_indexes=[0, 1], claimed_at=now - timedelta(minutes=15))
    usage = usage_of(team, now)
    assert (usage.gpu_hours, usage.expected_gpu_hours) == (0.5, 1.5)
    Attempt.objects.filter(pk=attempt.pk).update(claimed_at=now - timedelta(minutes=75))
    usage = usage_of(team, now)
    assert (usage.gpu_hours, usage.expected_gpu_hours) == (2.5, 0)


@pytest.mark.parametrize("status", ["failed", "cancelled", "held"])
def test_a_retry_reserves_its_hours_as_a_submit_does(team: Team, alice: User, status: str) -> None:
    make_host("brio", gpus=2)
    again = make_job(team, status=status, gpus_needed=2, variant="cuda")
    set_quota(team=team, user=make_user(is_superuser=True), gpu_hours_per_month=3)
    other = submit(team, alice, gpus=2)
    with pytest.raises(Problem) as at_submit:
        submit(team, alice, gpus=2)
    with pytest.raises(Problem) as over:
        retry_job(job=again, user=alice)
    assert (over.value.status, str(over.value), over.value.extra) == (
        403, str(at_submit.value), at_submit.value.extra
    )  # fmt: skip
    assert "2.0 reserved by open jobs; this job asks for 2.0" in str(over.value)
    assert fresh(again).status == status
    cancel_job(job=other, user=alice)
    assert retry_job(job=again, user=alice).status == "queued"
