"""A database that was restored from a backup: what hosts run that it does not know goes on until an admin decides."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.utils import timezone

from apps.accounts.models import Team, User
from apps.accounts.problems import Problem
from apps.fleet import freeze
from apps.fleet.models import Reservation
from apps.fleet.querysets import reconcile_hold
from apps.jobs.host_operations import fence_host, set_slots
from apps.jobs.models import Attempt, HeldAttempt, Job
from apps.jobs.reaping import withdraw_unclaimed
from apps.jobs.reconciling import adopt_held, begin_hold, end_held, end_hold, held_rows
from apps.jobs.scheduling import PATIENCE, place_waiting_jobs
from apps.jobs.sweep import Sweep
from tests.factories import api_headers, make_host, make_job, make_user
from tests.jobs.conftest import Worker, start, submit


class Running:
    """What the host still has of an attempt, whatever the database knows."""

    def __init__(self, worker: Worker, attempt: Attempt, **facts: Any) -> None:
        self.worker, self.uuid, self.host = worker, attempt.uuid, attempt.host
        self.lease = {"epoch": attempt.epoch, "lease_token": attempt.lease_token}
        self.facts = {"job": attempt.job.public_id, "phase": "running", "devices": attempt.device_indexes} | facts

    def beat(self, **changed: Any) -> str:
        row = {"uuid": str(self.uuid)} | self.lease | self.facts | changed
        (answer,) = self.worker.call("POST", "heartbeat", {"attempts": [row]}).json()["attempts"]
        return str(answer["answer"])

    def log(self, offset: int = 0) -> int:
        query = "&".join(f"{name}={value}" for name, value in self.lease.items())
        path = f"attempts/{self.uuid}/logs?offset={offset}&{query}"
        return int(self.worker.call("POST", path, b"line\n").status_code)

    def finish(self, **body: Any) -> int:
        body = self.lease | {"exit_code": 0} | body
        return int(self.worker.call("POST", f"attempts/{self.uuid}/finish", body).status_code)


@pytest.fixture
def admin(db: None) -> User:
    return make_user("root", is_superuser=True)


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The minute after the start is over."""
    monkeypatch.setattr(freeze, "_STARTED", -1e9)


@pytest.fixture
def lost(team: Team, alice: User, worker: Worker, settled: None) -> tuple[Job, Running]:
    """A job that is queued in the restored database, and runs on GPU 0 of the host since."""
    worker.host = make_gpus(worker)
    job, attempt = start(team, alice, worker, variant="cuda", gpus=1)
    running = Running(worker, attempt)
    forget(job)
    begin_hold(made_at=timezone.now() - timedelta(hours=1))
    return job, running


def make_gpus(worker: Worker) -> Any:
    worker.host.devices.create(kind="gpu", index=0, uuid="GPU-0", name="A", memory_bytes=2**35)
    worker.host.devices.create(kind="gpu", index=1, uuid="GPU-1", name="A", memory_bytes=2**35)
    return worker.host


def forget(job: Job) -> None:
    """As a backup of before its start has it."""
    job.attempts.all().delete()
    Reservation.objects.all().delete()
    Job.objects.filter(pk=job.pk).update(status="queued", started_at=None)


def busy(worker: Worker) -> list[int]:
    live = Reservation.objects.filter(device__host=worker.host, released_at=None)
    return sorted(live.values_list("device__index", flat=True))


def test_an_unknown_attempt_is_ended_without_a_hold(lost: tuple[Job, Running], admin: User) -> None:
    _, running = lost
    end_hold(user=admin)
    assert (running.beat(), running.log()) == ("gone", 404)
    assert not HeldAttempt.objects.exists()


def test_an_unknown_attempt_runs_on_and_keeps_its_gpu(
    lost: tuple[Job, Running], team: Team, alice: User, worker: Worker
) -> None:
    job, running = lost
    assert running.log() == 503, "a worker takes that for later, and does not end anything"
    assert (running.beat(), running.beat()) == ("hold", "hold")
    assert busy(worker) == [0]
    other = submit(team, alice, variant="cuda", gpus=1)
    place_waiting_jobs()
    assert other.attempts.get().device_indexes == [1], "another job got the GPU"
    job.refresh_from_db()
    assert (job.status, "since before the restore" in job.wait_reason) == ("queued", True)


def test_a_job_that_turns_out_to_run_already_is_not_started_by_a_look_that_began_before(
    lost: tuple[Job, Running],
) -> None:
    job, running = lost
    look = Sweep(timezone.now(), patience=PATIENCE, give_up_at=float("inf"))
    running.beat(devices=[])  # so that it is not its GPU that keeps it
    look.run()
    assert not job.attempts.exists()


def test_it_is_adopted_and_its_job_goes_on(lost: tuple[Job, Running], worker: Worker, admin: User) -> None:
    job, running = lost
    running.beat()
    adopt_held(attempt_uuid=running.uuid, user=admin)
    assert (running.beat(), running.log(), running.finish(result={"ok": True})) == ("run", 200, 200)
    job.refresh_from_db()
    assert (job.status, job.attempts.get().uuid, busy(worker)) == ("succeeded", running.uuid, [])
    assert job.events.filter(what__startswith="Adopted on atlas", actor=admin).exists()


def test_how_long_an_adopted_server_took_to_start_is_not_measured(
    team: Team, alice: User, worker: Worker, admin: User, settled: None
) -> None:
    """From when it was found to when it was adopted is an admin's time."""
    job, attempt = start(team, alice, worker, kind="serve")
    running = Running(worker, attempt, phase="ready")
    forget(job)
    begin_hold(made_at=timezone.now() - timedelta(hours=1))
    running.beat()
    found_at = timezone.now() - timedelta(minutes=40)
    HeldAttempt.objects.update(found_at=found_at)
    adopt_held(attempt_uuid=running.uuid, user=admin)
    assert running.beat() == "run"
    job.refresh_from_db()
    adopted = job.attempts.get()
    assert (job.status, adopted.measurements, adopted.claimed_at) == ("running", {}, found_at)
    assert job.started_at == found_at, "it ran at least since then"


def test_it_is_ended_and_its_gpu_is_free_only_when_it_is_dead(
    lost: tuple[Job, Running], worker: Worker, admin: User
) -> None:
    _, running = lost
    running.beat()
    end_held(attempt_uuid=running.uuid, user=admin)
    assert (running.beat(), running.log(), busy(worker)) == ("cancel", 410, [0])
    assert (running.finish(reason="cancelled_by_user"), busy(worker)) == (200, [])
    assert (running.beat(), held_rows(), busy(worker)) == ("gone", [], []), "a late heartbeat brought it back"
    with pytest.raises(Problem), transaction.atomic():
        adopt_held(attempt_uuid=running.uuid, user=admin)


def test_one_that_ends_by_itself_frees_its_gpu_and_keeps_its_result(
    lost: tuple[Job, Running], worker: Worker, admin: User
) -> None:
    job, running = lost
    running.beat()
    assert running.finish(result={"ok": True}) == 503
    assert (running.beat(), busy(worker)) == ("hold", [])
    adopt_held(attempt_uuid=running.uuid, user=admin)
    assert running.finish(result={"ok": True}) == 200
    job.refresh_from_db()
    assert (job.status, job.result) == ("succeeded", {"ok": True})


def test_a_job_starts_again_after_an_adopted_attempt_beyond_those_that_are_known(
    lost: tuple[Job, Running], worker: Worker, admin: User
) -> None:
    job, running = lost
    running.lease["epoch"] = 3  # two died since the backup
    running.beat()
    HeldAttempt.objects.update(epoch=3)
    adopt_held(attempt_uuid=running.uuid, user=admin)
    assert running.finish(reason="worker_lost", exit_code=None) == 200
    Job.objects.filter(pk=job.pk).update(not_before=None)
    place_waiting_jobs()
    assert sorted(job.attempts.values_list("epoch", flat=True)) == [3, 4]


@pytest.mark.parametrize("is_ending", [False, True])
def test_who_waits_is_told_what_holds_the_gpus_and_not_that_the_host_is_too_small(
    lost: tuple[Job, Running], team: Team, alice: User, admin: User, client: Client, is_ending: bool
) -> None:
    job, running = lost
    running.beat()
    if is_ending:
        end_held(attempt_uuid=running.uuid, user=admin)
    other = submit(team, alice, variant="cuda", gpus=2)
    place_waiting_jobs()
    answer = client.get(f"/api/v1/jobs/{other.public_id}/waiting", headers=api_headers(alice)).json()
    (host,) = answer["hosts"]
    assert (host["blocked_by"], host["can_ever"]) == (f"waits for the end of {job.public_id}", True)
    assert (host["free_at"] is not None) == is_ending


def test_a_gpu_that_is_held_keeps_its_slots(lost: tuple[Job, Running], worker: Worker, admin: User) -> None:
    job, running = lost
    running.beat()
    with pytest.raises(Problem, match=f"is held by {job.public_id}"), transaction.atomic():
        set_slots(device=worker.host.devices.get(kind="gpu", index=0), user=admin, slots=2)


def test_what_a_fenced_or_restarted_host_ran_holds_no_gpu(
    lost: tuple[Job, Running], worker: Worker, admin: User
) -> None:
    _, running = lost
    running.beat()
    assert busy(worker) == [0]
    fence_host(host=worker.host, user=admin, confirm=worker.host.name, force=True)
    assert (busy(worker), HeldAttempt.objects.count()) == ([], 0)


def test_folders_of_attempts_that_the_backup_does_not_know_are_kept_during_the_hold(
    lost: tuple[Job, Running], worker: Worker, admin: User
) -> None:
    unknown = str(uuid.uuid4())
    assert worker.call("GET", f"assignments?kept={unknown}").json()["kept"] == [unknown]
    end_hold(user=admin)
    assert worker.call("GET", f"assignments?kept={unknown}").json()["kept"] == []


def test_ending_the_hold_ends_what_is_left(lost: tuple[Job, Running], admin: User) -> None:
    _, running = lost
    running.beat()
    assert end_hold(user=admin) == 1
    assert reconcile_hold() is None
    assert (running.beat(), running.finish()) == ("cancel", 200)
    assert running.beat() == "gone"


def test_one_of_a_host_that_is_gone_ends_at_once(lost: tuple[Job, Running], worker: Worker, admin: User) -> None:
    _, running = lost
    running.beat()
    type(worker.host).objects.update(fenced_at=timezone.now())
    end_held(attempt_uuid=running.uuid, user=admin)
    assert (busy(worker), HeldAttempt.objects.count()) == ([], 0)


def test_what_the_database_knows_to_be_over_is_refused_as_ever(
    team: Team, alice: User, worker: Worker, settled: None
) -> None:
    job, first = start(team, alice, worker)
    running = Running(worker, first)
    worker.finish(first, reason="worker_lost")
    Job.objects.update(not_before=None)
    place_waiting_jobs()
    begin_hold(made_at=timezone.now())
    assert (running.beat(), running.log()) == ("gone", 409), "it was superseded"
    assert running.beat(epoch=9) == "gone", "an epoch that this attempt never had"
    assert job.attempts.filter(ended_at=None).count() == 1


def test_a_claim_that_the_backup_does_not_know_yet_is_believed(team: Team, alice: User, worker: Worker) -> None:
    _, attempt = start(team, alice, worker)
    running = Running(worker, attempt)
    old = timezone.now() - timedelta(hours=2)
    Attempt.objects.update(claimed_at=None, boot_id="", created_at=old)
    begin_hold(made_at=old)
    withdraw_unclaimed()
    assert (running.log(), running.beat()) == (200, "run")
    attempt.refresh_from_db()
    assert (attempt.ended_at, attempt.claimed_at is not None) == (None, True)


def test_how_long_a_server_took_whose_claim_was_forgotten_is_not_measured(
    team: Team, alice: User, worker: Worker
) -> None:
    job, attempt = start(team, alice, worker, kind="serve")
    Attempt.objects.update(claimed_at=None)
    Job.objects.update(started_at=None)
    assert Running(worker, attempt, phase="ready").beat() == "run"
    attempt.refresh_from_db()
    job.refresh_from_db()
    assert (job.status, attempt.measurements, job.started_at) == ("running", {}, attempt.claimed_at)


def test_nothing_is_placed_before_the_hosts_have_said_what_they_run(
    team: Team, alice: User, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin_hold(made_at=timezone.now())
    monkeypatch.setattr(freeze, "_STARTED", freeze.time.monotonic())
    job = submit(team, alice)
    place_waiting_jobs()
    assert not job.attempts.exists()
    monkeypatch.setattr(freeze, "_STARTED", freeze.time.monotonic() - freeze.SETTLE_SECONDS)
    place_waiting_jobs()
    assert job.attempts.exists()


def test_what_ran_before_the_backup_is_not_begun_anew(
    team: Team, alice: User, worker: Worker, admin: User, settled: None
) -> None:
    _, attempt = start(team, alice, worker)  # the host has forgotten it: it ended after the backup
    begin_hold(made_at=timezone.now())
    path, body = f"attempts/{attempt.uuid}/claim", {"epoch": attempt.epoch}
    assert worker.call("POST", path, body).status_code == 503
    end_hold(user=admin)
    assert worker.call("POST", path, body).status_code == 200


def test_a_later_attempt_supersedes_the_one_that_the_backup_believes_in(
    team: Team, alice: User, worker: Worker, admin: User, settled: None
) -> None:
    job, first = start(team, alice, worker)
    second = Attempt(job=job, host=worker.host, epoch=2)
    begin_hold(made_at=timezone.now())
    running = Running(worker, second)
    assert running.beat() == "hold"
    adopt_held(attempt_uuid=second.uuid, user=admin)
    first.refresh_from_db()
    assert (first.ended_at is not None, running.beat()) == (True, "run")
    assert job.attempts.get(ended_at=None).uuid == second.uuid


@pytest.mark.parametrize("why", ["over", "unknown", "made since", "newer"])
def test_what_cannot_be_adopted_says_why(
    team: Team, alice: User, worker: Worker, admin: User, settled: None, why: str
) -> None:
    job = make_job(team, kind="train", status="failed" if why == "over" else "queued")
    begin_hold(made_at=timezone.now())
    if why == "made since":
        Job.objects.filter(pk=job.pk).update(created_at=timezone.now())
    if why == "newer":
        job.attempts.create(host=worker.host, epoch=5)
    label = "job-987654" if why == "unknown" else job.public_id
    running = Running(worker, Attempt(job=job, host=worker.host, epoch=2), job=label)
    running.beat()
    sentence = {"over": "is failed", "unknown": "is unknown", "made since": "is unknown", "newer": "a newer attempt"}
    with pytest.raises(Problem, match=sentence[why]), transaction.atomic():
        adopt_held(attempt_uuid=running.uuid, user=admin)
    assert running.beat() == "hold"


def test_a_host_decides_nothing_for_another(lost: tuple[Job, Running], client: Client) -> None:
    _, running = lost
    running.beat()
    HeldAttempt.objects.update(host=make_host("brio"))
    assert (running.beat(), HeldAttempt.objects.count()) == ("gone", 1)


def test_an_admin_decides_over_rest(lost: tuple[Job, Running], client: Client, admin: User, alice: User) -> None:
    job, running = lost
    running.beat()
    path, headers = "/api/v1/reconcile-hold", api_headers(admin)
    assert client.get(path, headers=api_headers(alice)).status_code == 403
    found = client.get(path, headers=headers).json()
    (held,) = found["attempts"]
    assert (found["since"] is not None, held["job"], held["is_known"]) == (True, job.public_id, True)
    assert (held["host"], held["devices"], held["epoch"]) == ("atlas", [0], 1)
    adopted = client.post(f"{path}/attempts/{running.uuid}/adopt", headers=headers)
    assert (adopted.status_code, adopted.json()["status"]) == (200, "starting")
    assert client.post(f"{path}/attempts/{running.uuid}/end", headers=headers).status_code == 409
    assert client.post(f"{path}/end", headers=headers).json() == {"ending": 0}
    assert client.post(f"{path}/end", headers=headers).status_code == 409
    assert client.get(path, headers=headers).json() == {"since": None, "text": "", "attempts": []}


def test_an_admin_decides_on_the_hardware_page(
    lost: tuple[Job, Running], client: Client, admin: User, alice: User
) -> None:
    _, running = lost
    running.beat()
    client.force_login(alice)
    page = client.get("/hardware").text
    assert "1 attempt from after the restored backup still runs" in page
    assert "Adopt</button>" not in page
    client.force_login(admin)
    assert f"/hardware/held/{running.uuid}/adopt" in client.get("/hardware").text
    client.post(f"/hardware/held/{running.uuid}/end")
    assert "ending</span>" in client.get("/hardware").text
    client.post("/hardware/hold/end")
    assert running.finish() == 200
    assert "from after the restored backup" not in client.get("/hardware").text
