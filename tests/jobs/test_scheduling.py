from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from apps.accounts.models import Team, User
from apps.accounts.problems import Problem
from apps.engines.base import ModelRef, RunSpec
from apps.engines.locks import lock_sha256
from apps.fleet.models import EngineEnvironment, Reservation
from apps.fleet.reservations import FIRST_PORT
from apps.jobs.environments import has_environment
from apps.jobs.models import Attempt, Job
from apps.jobs.reaping import withdraw_unclaimed
from apps.jobs.scheduling import place_waiting_jobs
from apps.jobs.services import submit_job
from tests.factories import GIB, make_host
from tests.jobs.conftest import Worker, start, submit


def test_gpus_are_given_once(team: Team, alice: User) -> None:
    make_host("brio", gpus=2)
    jobs = [submit(team, alice, gpus=1) for _ in range(3)]
    place_waiting_jobs()
    held = Reservation.objects.filter(released_at=None).values_list("device__index", flat=True)
    assert sorted(held) == [0, 1]
    jobs[2].refresh_from_db()
    assert jobs[2].status == "queued"
    assert jobs[2].wait_reason == "Needs 1 GPU on one host; brio has 0 free."


def test_the_database_refuses_a_second_live_reservation(team: Team, alice: User) -> None:
    device = make_host("brio", gpus=1).devices.get(kind="gpu")
    Reservation.objects.create(device=device, holder="11111111-1111-4111-8111-111111111111")
    with pytest.raises(IntegrityError), transaction.atomic():
        Reservation.objects.create(device=device, holder="22222222-2222-4222-8222-222222222222")


def test_the_cpu_device_is_shared_by_reserved_ram(team: Team, alice: User) -> None:
    make_host("atlas", ram_gib=16)  # 2 GiB stay with the system
    jobs = [submit(team, alice, ram_bytes=6 * GIB) for _ in range(3)]
    place_waiting_jobs()
    statuses = [Job.objects.get(pk=job.pk).status for job in jobs]
    assert statuses == ["starting", "starting", "queued"]
    assert "Waits for 6.0 GiB of RAM" in Job.objects.get(pk=jobs[2].pk).wait_reason


def test_priority_goes_first_then_age(team: Team, alice: User) -> None:
    make_host("atlas", ram_gib=8)
    low = submit(team, alice, ram_bytes=5 * GIB)
    high = submit(team, alice, ram_bytes=5 * GIB, priority=5)
    place_waiting_jobs()
    assert Job.objects.get(pk=high.pk).status == "starting"
    assert Job.objects.get(pk=low.pk).status == "queued"


@pytest.mark.parametrize("how", ["cordoned", "silent"])
def test_cordoned_and_silent_hosts_get_nothing(team: Team, alice: User, how: str) -> None:
    host = make_host("atlas")
    host.cordoned = how == "cordoned"
    host.last_seen_at = timezone.now() - timedelta(minutes=5 if how == "silent" else 0)
    host.save()
    job = submit(team, alice)
    place_waiting_jobs()
    job.refresh_from_db()
    assert (job.status, job.wait_reason) == ("queued", "No host takes work now.")


def test_a_missing_environment_is_installed_first(team: Team, alice: User, worker: Worker) -> None:

    spec = RunSpec(kind="serve", engine="vllm", served_name="m", model=ModelRef(name="m", path="/m"))
    job = submit_job(team=team, user=alice, kind="serve", name="serve m", spec=spec)
    twin = submit_job(team=team, user=alice, kind="serve", name="serve m too", spec=spec)
    place_waiting_jobs()
    install = Job.objects.get(kind="install")  # one install for both
    assert set(install.followers.all()) == {job, twin}
    job.refresh_from_db()
    assert job.wait_reason.startswith(f"Waits for {install.public_id}")
    place_waiting_jobs()
    attempt = install.attempts.get()
    worker.claim(attempt)
    worker.finish(attempt, exit_code=1, reason="environment_failed", cause="no space left")
    place_waiting_jobs()
    job.refresh_from_db()
    assert (job.status, job.reason) == ("failed", "environment_failed")
    assert "no space left" in job.cause


def test_what_was_installed_counts_before_the_next_inventory(team: Team, alice: User, worker: Worker) -> None:
    spec = RunSpec(kind="serve", engine="vllm", served_name="m", model=ModelRef(name="m", path="/m"))
    job = submit_job(team=team, user=alice, kind="serve", name="serve m", spec=spec)
    place_waiting_jobs()
    place_waiting_jobs()
    attempt = Job.objects.get(kind="install").attempts.get()
    worker.claim(attempt)
    made = {"role": "environment", "path": "/environments/vllm", "format": "venv", "size_bytes": 0}
    worker.finish(attempt, exit_code=0, result={"ok": True, "produced": [made]})
    place_waiting_jobs()
    job.refresh_from_db()
    assert job.status == "starting"
    assert Job.objects.filter(kind="install").count() == 1


def test_todays_lock_counts_not_an_old_one(team: Team, alice: User, worker: Worker) -> None:

    held = EngineEnvironment.objects.create(
        host=worker.host, engine="vllm", variant="cpu", lock_sha256="0" * 64, path="/old"
    )
    assert not has_environment(worker.host, "vllm", "cpu")
    held.lock_sha256 = lock_sha256("vllm", "cpu")
    held.save()
    assert has_environment(worker.host, "vllm", "cpu")


def test_a_job_waits_for_those_before_it_and_fails_with_them(team: Team, alice: User, worker: Worker) -> None:
    first, attempt = start(team, alice, worker)
    second = submit(team, alice, after=[first])
    place_waiting_jobs()
    assert not second.attempts.exists()
    worker.finish(attempt, exit_code=1, reason="engine_exited")
    place_waiting_jobs()
    second.refresh_from_db()
    assert (second.status, second.reason) == ("failed", "dependency_failed")


def test_an_attempt_nobody_claims_goes_back_to_the_queue(team: Team, alice: User, worker: Worker) -> None:
    job = submit(team, alice)
    place_waiting_jobs()
    Attempt.objects.update(created_at=timezone.now() - timedelta(minutes=5))
    withdraw_unclaimed()
    job.refresh_from_db()
    assert (job.status, job.infrastructure_losses) == ("queued", 0)
    assert not Reservation.objects.filter(released_at=None).exists()


def test_a_claimed_attempt_of_a_silent_host_keeps_its_devices(team: Team, alice: User, worker: Worker) -> None:
    _, attempt = start(team, alice, worker)
    past = timezone.now() - timedelta(hours=2)
    Attempt.objects.update(created_at=past, lease_expires_at=past)
    withdraw_unclaimed()
    attempt.refresh_from_db()
    assert attempt.is_unknown
    assert attempt.ended_at is None
    assert Reservation.objects.filter(holder=attempt.uuid, released_at=None).exists()


def test_bad_wishes_are_refused_with_the_field_named(team: Team, alice: User) -> None:

    with pytest.raises(Problem) as engine:
        submit_job(team=team, user=alice, kind="serve", name="x", spec=RunSpec(kind="serve", engine="vlm"))
    assert engine.value.errors[0].field == "engine"
    assert engine.value.errors[0].nearest == "vllm"
    with pytest.raises(Problem) as option:
        submit(team, alice, options={"stepz": 3})
    assert (option.value.errors[0].field, option.value.errors[0].nearest) == ("options.stepz", "steps")
    with pytest.raises(Problem) as priority:
        submit(team, alice, priority=-1)
    assert priority.value.errors[0].field == "priority"
    assert not Job.objects.exists()


def test_a_server_without_a_free_port_waits_and_holds_up_nobody(
    team: Team, alice: User, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apps.fleet.reservations.LAST_PORT", FIRST_PORT)
    first, second = (submit(team, alice, kind="serve") for _ in range(2))
    batch = submit(team, alice)
    place_waiting_jobs()
    second.refresh_from_db()
    assert (second.status, second.wait_reason[:16]) == ("queued", "Waits for a port")
    assert [Job.objects.get(pk=job.pk).status for job in (first, batch)] == ["starting", "starting"]


def serve_on_gpu(team: Team, alice: User) -> Job:
    spec = RunSpec(kind="serve", engine="vllm", served_name="m", model=ModelRef(name="m", path="/m"))
    return submit_job(team=team, user=alice, kind="serve", name="serve m", spec=spec, variant="cuda", gpus=1)


def test_a_cuda_job_goes_only_where_its_environment_runs(team: Team, alice: User) -> None:
    brio = make_host("brio", gpus=1, architecture="aarch64")
    brio.devices.filter(kind="gpu").update(uuid="AMD-1", name="AMD Instinct MI300X", memory_bytes=192 * GIB)
    make_host("cinder", gpus=1, architecture="x86_64").devices.filter(kind="gpu").update(driver="525.147.05")
    rocm = make_host("dune", gpus=1, architecture="x86_64")
    rocm.devices.filter(kind="gpu").update(uuid="AMD-2")
    job = serve_on_gpu(team, alice)
    place_waiting_jobs()
    job.refresh_from_db()
    assert job.wait_reason == (
        "No host can run vllm (cuda). "
        "brio: no locked environment for aarch64; give an existing path or image. "
        "cinder: driver 525.147.05 is older than CUDA 13.0 needs (580). "
        "dune: no locked environment for AMD ROCm; give an existing path or image."
    )
    assert not Job.objects.filter(kind="install").exists()
    atlas = make_host("atlas", gpus=1, architecture="x86_64")
    atlas.devices.filter(kind="gpu").update(driver="580.65.06")
    place_waiting_jobs()
    assert Job.objects.get(kind="install").pinned_host == atlas


def test_a_path_that_an_operator_gave_takes_the_job_on_any_platform(team: Team, alice: User) -> None:
    brio = make_host("brio", gpus=1, architecture="aarch64")
    brio.devices.filter(kind="gpu").update(uuid="AMD-1")
    job = serve_on_gpu(team, alice)
    own = EngineEnvironment.objects.create(host=brio, engine="vllm", variant="cpu", path="/opt/vllm")
    place_waiting_jobs()
    assert not job.attempts.exists(), "it is a CPU build"
    EngineEnvironment.objects.filter(pk=own.pk).update(variant="cuda")
    place_waiting_jobs()
    assert job.attempts.get().host == brio


def test_a_job_on_the_cpu_does_not_ask_for_a_driver(team: Team, alice: User) -> None:
    make_host("cinder", gpus=1, architecture="x86_64").devices.filter(kind="gpu").update(driver="525.147.05")
    spec = RunSpec(kind="serve", engine="vllm", served_name="m", model=ModelRef(name="m", path="/m"))
    submit_job(team=team, user=alice, kind="serve", name="serve m", spec=spec)
    place_waiting_jobs()
    assert Job.objects.get(kind="install").spec["payload"]["variant"] == "cpu"
