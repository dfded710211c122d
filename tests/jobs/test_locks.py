"""A person's word and the host's at the same moment: neither waits for the other for ever."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.db import OperationalError, transaction
from django.utils import timezone

from apps.accounts.models import Team, User
from apps.accounts.problems import Problem
from apps.accounts.services import lock_team
from apps.fleet.models import EngineEnvironment, Host, Reservation
from apps.fleet.operations import locked_row
from apps.fleet.reservations import hold_devices, reserve_gpus, reserve_ram
from apps.jobs import lifecycle, scheduling
from apps.jobs.heartbeats import beat
from apps.jobs.host_operations import drain_host, host_leaves, set_slots
from apps.jobs.kinds import KindHandler, handler_of_kind
from apps.jobs.leases import claim_attempt, finish_attempt
from apps.jobs.models import Attempt, HeldAttempt, Job
from apps.jobs.scheduling import place_waiting_jobs
from apps.jobs.schemas import FinishIn
from apps.jobs.services import cancel_job, retry_job
from tests.factories import make_host, make_job, make_user
from tests.jobs.conftest import Worker, inventory, start, submit
from tests.threads import Beside

pytestmark = pytest.mark.django_db(transaction=True)


def placed(team: Team, alice: User) -> tuple[Job, Attempt]:
    job = submit(team, alice, ram_bytes=10**9)
    place_waiting_jobs()
    return job, job.attempts.get()


def test_a_cancel_during_the_claim_frees_nothing_that_may_run(team: Team, alice: User, worker: Worker) -> None:
    job, attempt = placed(team, alice)
    with transaction.atomic():
        claim_attempt(host=worker.host, attempt_uuid=attempt.uuid, epoch=attempt.epoch)
        cancel = Beside(lambda: cancel_job(job=job, user=alice))
        cancel.until_it_waits()
    assert cancel.end() is None
    job.refresh_from_db()
    assert job.status == "cancelling"
    assert Reservation.objects.filter(holder=attempt.uuid, released_at=None).exists()


def test_a_claim_during_the_cancel_is_refused(team: Team, alice: User, worker: Worker) -> None:
    job, attempt = placed(team, alice)
    with transaction.atomic():
        Job.objects.select_for_update().get(pk=job.pk)
        claim = Beside(lambda: claim_attempt(host=worker.host, attempt_uuid=attempt.uuid, epoch=attempt.epoch))
        claim.until_it_waits()
        cancel_job(job=job, user=alice)
    refused = claim.end()
    assert isinstance(refused, Problem)
    assert refused.status == 409
    assert not Reservation.objects.filter(released_at=None).exists()


def test_trouble_of_the_database_does_not_fail_the_job(
    team: Team, alice: User, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, attempt = start(team, alice, worker)
    worker.client.raise_request_exception = False

    def trouble(job: Job) -> None:
        raise OperationalError("deadlock detected")

    with monkeypatch.context() as patch:
        patch.setattr(lifecycle, "handler_of", lambda job: KindHandler(on_finished=trouble))
        assert worker.finish(attempt, exit_code=0).status_code == 500
    assert worker.finish(attempt, exit_code=0).status_code == 200
    job.refresh_from_db()
    assert job.status == "succeeded"


@pytest.fixture
def limited(team: Team) -> Team:
    """Of a team with a quota the scheduler locks the row."""
    Team.objects.filter(pk=team.pk).update(gpus_at_once=4, gpu_hours_per_month=1000)
    return team


def test_the_scheduler_waits_for_the_team_before_it_holds_a_job(limited: Team, alice: User) -> None:
    make_host("atlas", gpus=1)
    job = submit(limited, alice, gpus=1)
    with transaction.atomic():
        lock_team(limited)
        look = Beside(place_waiting_jobs)
        look.until_it_waits()
        cancel_job(job=job, user=alice)
    assert look.end() is None
    assert not job.attempts.exists()


def test_a_retry_waits_for_the_team_before_it_holds_the_job(limited: Team, alice: User) -> None:
    job = make_job(limited, status="failed", gpus_needed=1)
    with transaction.atomic():
        lock_team(limited)
        retry = Beside(lambda: retry_job(job=job, user=alice))
        retry.until_it_waits()
        Job.objects.select_for_update().get(pk=job.pk)
    assert retry.end() is None
    job.refresh_from_db()
    assert job.status == "queued"


def test_a_job_can_be_asked_for_while_the_one_before_it_ends(limited: Team, alice: User, worker: Worker) -> None:
    make_host("brio", gpus=1)
    first, attempt = start(limited, alice, worker)
    with transaction.atomic():
        lifecycle.lock_attempt(attempt.uuid)
        ask = Beside(lambda: submit(limited, alice, gpus=1, after=[first]))
        assert ask.end() is None
    assert first.followers.count() == 1


def test_a_run_that_ends_waits_for_the_team_before_it_holds_its_job(team: Team, alice: User, worker: Worker) -> None:
    assert handler_of_kind("train").writes_catalogue
    job, attempt = start(team, alice, worker)
    body = FinishIn(epoch=1, lease_token=attempt.lease_token, exit_code=1, reason="out_of_memory")
    with transaction.atomic():
        lock_team(team)
        end = Beside(lambda: finish_attempt(host=worker.host, attempt_uuid=attempt.uuid, body=body))
        end.until_it_waits()
        Job.objects.select_for_update(nowait=True).get(pk=job.pk)
    assert end.end() is None


def test_a_stuck_attempt_waits_for_its_host_before_it_holds_its_job(team: Team, alice: User, worker: Worker) -> None:
    job, attempt = start(team, alice, worker)
    row = {"uuid": str(attempt.uuid), "epoch": 1, "lease_token": attempt.lease_token, "is_stuck": True}
    with transaction.atomic():
        locked_row(worker.host)
        stuck = Beside(lambda: beat(host=worker.host, beats=[row]))
        stuck.until_it_waits()
        Job.objects.select_for_update(nowait=True).get(pk=job.pk)
    assert stuck.end() is None


def test_a_heartbeat_renews_what_is_free_before_it_waits_for_a_job_that_somebody_holds(
    team: Team, alice: User, worker: Worker
) -> None:
    started = [start(team, alice, worker, ram_bytes=2**30)[1] for _ in range(2)]
    rows = [{"uuid": str(each.uuid), "epoch": 1, "lease_token": each.lease_token} for each in started]
    answers: list[dict[str, str]] = []
    Attempt.objects.update(lease_expires_at=timezone.now())
    with transaction.atomic():
        lifecycle.lock_attempt(started[0].uuid)
        heard = Beside(lambda: answers.extend(beat(host=worker.host, beats=rows)))
        heard.until_it_waits()
        still = [row.pk for row in Attempt.objects.filter(lease_expires_at__lt=timezone.now())]
    assert (still, heard.end()) == ([started[0].pk], None)
    assert [each["answer"] for each in answers] == ["run", "run"]
    assert not Attempt.objects.filter(lease_expires_at__lt=timezone.now()).exists()


def test_an_inventory_after_a_restart_waits_for_jobs_before_it_changes_environments(
    team: Team, alice: User, worker: Worker
) -> None:
    worker.call("POST", "inventory", inventory("boot-1"))
    worker.host.refresh_from_db()
    installed = EngineEnvironment.objects.create(host=worker.host, engine="vllm", variant="cpu", path="/gone")
    _, attempt = start(team, alice, worker)
    with transaction.atomic():
        lifecycle.lock_attempt(attempt.uuid)
        after = Beside(lambda: worker.call("POST", "inventory", inventory("boot-2")))
        after.until_it_waits()
        EngineEnvironment.objects.select_for_update(nowait=True).get(pk=installed.pk)
    assert after.end() is None
    attempt.refresh_from_db()
    assert attempt.reason == "worker_lost"
    assert not EngineEnvironment.objects.filter(pk=installed.pk).exists()


def test_nothing_is_placed_on_a_host_that_is_being_drained(team: Team, alice: User, worker: Worker) -> None:
    job = submit(team, alice, ram_bytes=10**9)
    with transaction.atomic():
        drain_host(host=worker.host, user=make_user(is_superuser=True))
        look = Beside(place_waiting_jobs)
        look.until_it_waits()
    assert look.end() is None
    assert not job.attempts.exists()


def test_a_look_waits_for_a_host_that_reports_and_keeps_the_order_of_the_line(
    team: Team, alice: User, worker: Worker
) -> None:
    urgent, other = (submit(team, alice, ram_bytes=10 * 2**30, priority=priority) for priority in (10, 0))
    with transaction.atomic():
        Host.objects.filter(pk=worker.host.pk).update(last_seen_at=timezone.now())
        look = Beside(place_waiting_jobs)
        look.until_it_waits()
    assert look.end() is None
    assert [job.attempts.exists() for job in (urgent, other)] == [True, False]


def test_a_host_that_leaves_and_a_heartbeat_of_what_it_held_wait_for_each_other_in_turn(
    team: Team, alice: User, worker: Worker
) -> None:
    held = HeldAttempt.objects.create(uuid=uuid4(), host=worker.host, epoch=1, lease_token="t")
    with transaction.atomic():
        HeldAttempt.objects.select_for_update().get(pk=held.pk)
        leaves = Beside(lambda: host_leaves(host=worker.host))
        leaves.until_it_waits()
        reserve_ram(host=worker.host, ram_bytes=1, holder=held.uuid)
    assert leaves.end() is None
    assert not Reservation.objects.filter(released_at=None).exists()


def test_a_wait_is_told_without_waiting_for_a_job_that_somebody_works_on(team: Team, alice: User) -> None:
    make_host("atlas", gpus=1, cordoned=True)
    jobs = [submit(team, alice, gpus=1) for _ in range(2)]
    with transaction.atomic():
        Job.objects.select_for_update().get(pk=jobs[0].pk)
        assert Beside(place_waiting_jobs).end() is None
    assert [bool(Job.objects.get(pk=job.pk).wait_reason) for job in jobs] == [False, True]
    place_waiting_jobs()
    assert Job.objects.get(pk=jobs[0].pk).wait_reason


def test_a_freeze_is_told_without_waiting_for_a_job_that_somebody_works_on(
    team: Team, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduling, "is_frozen", lambda: True)
    jobs = [submit(team, alice) for _ in range(2)]
    with transaction.atomic():
        Job.objects.select_for_update().get(pk=jobs[0].pk)
        assert Beside(place_waiting_jobs).end() is None
    assert [Job.objects.get(pk=job.pk).wait_reason for job in jobs] == ["", scheduling.FROZEN]


def test_a_gpu_that_is_being_given_keeps_its_slots(alice: User, worker: Worker) -> None:
    host = make_host("brio", gpus=1)
    gpu = host.devices.get(kind="gpu")
    with transaction.atomic():
        reserve_gpus(host=host, slots={0: 1}, holder=uuid4())
        change = Beside(lambda: set_slots(device=gpu, user=alice, slots=4))
        change.until_it_waits()
    refused = change.end()
    assert isinstance(refused, Problem)
    assert refused.status == 409


def test_what_is_held_after_a_restore_holds_the_slots_that_are_being_added(alice: User) -> None:
    host = make_host("brio", gpus=1)
    hold = transaction.atomic(lambda: hold_devices(host=host, devices=[0], ram_bytes=0, holder=uuid4()))
    with transaction.atomic():
        set_slots(device=host.devices.get(kind="gpu"), user=alice, slots=4)
        held = Beside(hold)
        held.until_it_waits()
    assert held.end() is None
    assert Reservation.objects.filter(released_at=None).count() == 4
