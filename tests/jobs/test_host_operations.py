"""Drain, fence, restart, goodbye: what becomes of a host's jobs, devices and late words."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.accounts.models import AuditEvent, Team, User
from apps.accounts.problems import Problem
from apps.engines.base import ModelRef, RunSpec
from apps.fleet.freeze import FROZEN
from apps.fleet.models import EngineEnvironment, Host, Reservation
from apps.fleet.operations import cordon_host, uncordon_host
from apps.jobs.host_operations import drain_host, fence_host, remove_host, set_slots
from apps.jobs.models import Attempt, Job
from apps.jobs.reaping import withdraw_unclaimed
from apps.jobs.scheduling import place_waiting_jobs
from apps.jobs.services import submit_job
from tests.factories import make_host, make_user
from tests.jobs.conftest import Worker, inventory, start, submit


@pytest.fixture
def admin(team: Team) -> User:
    return make_user("admin", team=team, is_superuser=True)


def held() -> int:
    return Reservation.objects.filter(released_at=None).count()


def quiet(host: Host, minutes: float = 5) -> None:
    Host.objects.filter(pk=host.pk).update(last_seen_at=timezone.now() - timedelta(minutes=minutes))


def test_a_drain_moves_endpoints_and_lets_batch_jobs_end(team: Team, alice: User, admin: User, worker: Worker) -> None:
    train, _ = start(team, alice, worker)
    serve, replica = start(team, alice, worker, kind="serve")
    drain_host(host=worker.host, user=admin)
    replica.refresh_from_db()
    assert replica.stop_reason == "", "no other host can hold it, so it stays"
    make_host("brio")
    drain_host(host=worker.host, user=admin, reason="new disk")
    worker.finish(replica, exit_code=-15, reason="cancelled_by_user")
    assert train.attempts.get().stop_reason == ""
    place_waiting_jobs()
    moved = serve.attempts.first()
    assert moved is not None
    assert moved.host.name == "brio"
    worker.host.refresh_from_db()
    assert (worker.host.state, worker.host.cordon_reason) == ("draining", "new disk")
    drain_host(host=worker.host, user=admin, now=True)
    assert train.attempts.get().stop_reason == "preempted"
    uncordon_host(host=worker.host, user=admin)
    worker.host.refresh_from_db()
    assert (worker.host.state, worker.host.cordon_reason) == ("connected", "")


def test_an_endpoint_tied_to_its_host_stays_unless_told_now(
    team: Team, alice: User, admin: User, worker: Worker
) -> None:
    make_host("brio")
    _, attempt = start(team, alice, worker, kind="serve", pinned_host=worker.host)
    drain_host(host=worker.host, user=admin)
    attempt.refresh_from_db()
    assert attempt.stop_reason == ""
    drain_host(host=worker.host, user=admin, now=True)
    attempt.refresh_from_db()
    assert attempt.stop_reason == "preempted"


def test_a_drain_moves_no_endpoint_to_a_host_that_cannot_run_it(
    team: Team, alice: User, admin: User, worker: Worker
) -> None:
    spec = RunSpec(kind="serve", engine="vllm", served_name="m", model=ModelRef(name="m", path="/m"))
    EngineEnvironment.objects.create(host=worker.host, engine="vllm", variant="cpu", path="/opt/vllm")
    job = submit_job(team=team, user=alice, kind="serve", name="serve m", spec=spec)
    place_waiting_jobs()
    attempt = job.attempts.get()
    worker.claim(attempt)
    make_host("brio", architecture="aarch64")
    drain_host(host=worker.host, user=admin)
    attempt.refresh_from_db()
    assert attempt.stop_reason == ""


def test_a_cordoned_host_gets_nothing_new(team: Team, alice: User, admin: User, worker: Worker) -> None:
    cordon_host(host=worker.host, user=admin, reason="driver update")
    job = submit(team, alice)
    place_waiting_jobs()
    assert not job.attempts.exists()
    assert AuditEvent.objects.get(action="host.cordoned").detail == {"reason": "driver update"}


def test_a_fenced_host_loses_its_jobs_its_devices_and_its_voice(
    team: Team, alice: User, admin: User, worker: Worker
) -> None:
    job, attempt = start(team, alice, worker)
    late = submit(team, alice, kind="evaluate")
    place_waiting_jobs()
    quiet(worker.host)
    fence_host(host=worker.host, user=admin, confirm="atlas")
    job.refresh_from_db()
    late.refresh_from_db()
    attempt.refresh_from_db()
    assert (job.status, job.infrastructure_losses, attempt.reason) == ("queued", 1, "worker_lost")
    assert (late.status, late.infrastructure_losses) == ("queued", 0), "nobody had claimed it"
    assert held() == 0
    assert worker.finish(attempt, exit_code=0).status_code == 401, "its late word is refused"
    Host.objects.update(last_seen_at=timezone.now())
    place_waiting_jobs()
    job.refresh_from_db()
    assert job.status == "queued", "a fenced host gets nothing, however fresh its last word"
    make_host("brio")
    place_waiting_jobs()
    assert job.attempts.latest("epoch").host.name == "brio"


def test_fencing_wants_the_name_and_a_silent_host(admin: User, worker: Worker) -> None:
    quiet(worker.host)
    with pytest.raises(Problem, match="confirm must be atlas, the host's name"):
        fence_host(host=worker.host, user=admin, confirm="Atlas")
    Host.objects.update(last_seen_at=timezone.now())
    with pytest.raises(Problem, match="has just reported"):
        fence_host(host=worker.host, user=admin, confirm="atlas")
    assert fence_host(host=worker.host, user=admin, confirm="atlas", force=True).state == "fenced"
    for again in (uncordon_host, cordon_host, drain_host):
        with pytest.raises(Problem, match="was fenced"):
            again(host=worker.host, user=admin)


def test_a_restarted_host_has_lost_what_it_ran_once(team: Team, alice: User, worker: Worker) -> None:
    worker.call("POST", "inventory", inventory("boot-1"))
    worker.host.refresh_from_db()
    job, attempt = start(team, alice, worker)
    assert attempt.boot_id == "boot-1"
    worker.call("POST", "inventory", inventory("boot-1"))
    attempt.refresh_from_db()
    assert attempt.ended_at is None
    assert worker.call("POST", "inventory", inventory("boot-2")).status_code == 200
    job.refresh_from_db()
    attempt.refresh_from_db()
    assert (job.status, job.infrastructure_losses, attempt.reason, held()) == ("queued", 1, "worker_lost", 0)
    assert worker.finish(attempt, reason="worker_lost").status_code == 200, "the agent found out too"
    job.refresh_from_db()
    assert (job.status, job.infrastructure_losses) == ("queued", 1), "counted once"


def test_a_restart_that_the_agent_told_first_counts_once_too(team: Team, alice: User, worker: Worker) -> None:
    worker.call("POST", "inventory", inventory("boot-1"))
    worker.host.refresh_from_db()
    job, attempt = start(team, alice, worker)
    worker.finish(attempt, reason="worker_lost")
    place_waiting_jobs()
    again = job.attempts.latest("epoch")
    claim = {"epoch": again.epoch, "boot_id": "boot-2"}  # the claim overtook the inventory
    assert worker.call("POST", f"attempts/{again.uuid}/claim", claim).status_code == 200
    worker.call("POST", "inventory", inventory("boot-2"))
    again.refresh_from_db()
    job.refresh_from_db()
    assert (again.ended_at, job.infrastructure_losses) == (None, 1)


def restarted(team: Team, alice: User, worker: Worker) -> Attempt:
    """Of boot-2, which the server knows by this attempt's claim only; boot-1 sent its inventory."""
    worker.call("POST", "inventory", inventory("boot-1"))
    submit(team, alice)
    place_waiting_jobs()
    attempt = Attempt.objects.get()
    claim = {"epoch": attempt.epoch, "boot_id": "boot-2"}
    assert worker.call("POST", f"attempts/{attempt.uuid}/claim", claim).status_code == 200
    return attempt


def test_an_inventory_that_was_on_its_way_while_the_host_restarted_takes_nothing_from_it(
    team: Team, alice: User, worker: Worker
) -> None:
    attempt = restarted(team, alice, worker)
    late = worker.call("POST", "inventory", inventory("boot-1"))
    assert (late.status_code, late.json()["detail"]) == (409, "atlas has restarted since this was sent.")
    attempt.refresh_from_db()
    assert (attempt.ended_at, attempt.boot_id) == (None, "boot-2")
    assert held() == 1


def test_a_claim_that_was_on_its_way_while_the_host_restarted_changes_no_lease(
    team: Team, alice: User, worker: Worker
) -> None:
    attempt = restarted(team, alice, worker)
    late = worker.call("POST", f"attempts/{attempt.uuid}/claim", {"epoch": attempt.epoch, "boot_id": "boot-1"})
    assert late.status_code == 409
    assert worker.call("POST", "inventory", inventory("boot-2")).status_code == 200
    attempt.refresh_from_db()
    assert (attempt.ended_at, attempt.boot_id) == (None, "boot-2")
    assert held() == 1


def test_after_a_while_a_known_boot_is_a_machine_that_was_set_back(team: Team, alice: User, worker: Worker) -> None:
    attempt = restarted(team, alice, worker)
    long_ago = (timezone.now() - timedelta(minutes=11)).isoformat()
    Host.objects.update(earlier_boots={"boot-1": long_ago})
    assert worker.call("POST", "inventory", inventory("boot-1")).status_code == 200
    attempt.refresh_from_db()
    assert attempt.reason == "worker_lost"


def test_a_host_that_leaves_gives_its_jobs_back_uncounted(team: Team, alice: User, worker: Worker) -> None:
    job, _ = start(team, alice, worker)
    assert worker.call("POST", "leave").status_code == 200
    job.refresh_from_db()
    worker.host.refresh_from_db()
    assert (job.status, job.infrastructure_losses, held(), worker.host.state) == ("queued", 0, 0, "left")
    assert worker.call("GET", "assignments").status_code == 401


def test_while_frozen_nothing_is_placed_or_taken_back(team: Team, alice: User, worker: Worker) -> None:
    brio, cinder = make_host("brio"), make_host("cinder")
    placed = submit(team, alice)
    place_waiting_jobs()
    Attempt.objects.update(created_at=timezone.now() - timedelta(minutes=9))
    waiting = submit(team, alice)
    quiet(brio)
    quiet(cinder)
    place_waiting_jobs()
    withdraw_unclaimed()
    assert Job.objects.get(pk=waiting.pk).wait_reason == FROZEN
    assert placed.attempts.get().ended_at is None
    Host.objects.update(last_seen_at=timezone.now())
    place_waiting_jobs()
    withdraw_unclaimed()
    assert waiting.attempts.exists()
    assert placed.attempts.get().ended_at is not None


def test_a_host_that_somebody_has_just_removed_is_not_there(admin: User) -> None:
    host = make_host(fenced_at=timezone.now())
    remove_host(host=host, user=admin)
    for action in (cordon_host, uncordon_host, drain_host, remove_host):
        with pytest.raises(Problem) as refused:
            action(host=host, user=admin)
        assert refused.value.status == 404


def test_slots_change_only_while_nobody_holds_the_gpu(team: Team, alice: User, admin: User, worker: Worker) -> None:
    """More slots of a GPU that a job has whole would be given to another job beside it."""
    gpu = worker.host.devices.create(kind="gpu", index=0, uuid="GPU-0", name="A", memory_bytes=2**35)
    job, attempt = start(team, alice, worker, variant="cuda", gpus=1)
    with pytest.raises(Problem, match=rf"GPU atlas:0 is held by {job.public_id} \(a train job\)\.") as refused:
        set_slots(device=gpu, user=admin, slots=4)
    assert (refused.value.status, set_slots(device=gpu, user=admin, slots=1).slots) == (409, 1)
    other = submit(team, alice, variant="cuda", gpus=1, vram_bytes=2**30)
    place_waiting_jobs()
    assert not other.attempts.exists(), "one GPU was given twice"
    worker.finish(attempt, exit_code=0)
    set_slots(device=gpu, user=admin, slots=3)
    gpu.refresh_from_db()
    assert gpu.slots == 3
    place_waiting_jobs()
    with pytest.raises(Problem, match=f"held by {other.public_id}"):
        set_slots(device=gpu, user=admin, slots=2)


def test_slots_are_from_1_to_16_and_of_a_gpu(admin: User) -> None:
    gpu, cpu = make_host("atlas", gpus=1).devices.order_by("-kind")
    for wrong in (0, 17):
        with pytest.raises(Problem, match="slots must be from 1 to 16"):
            set_slots(device=gpu, user=admin, slots=wrong)
    with pytest.raises(Problem, match="Only a GPU has slots"):
        set_slots(device=cpu, user=admin, slots=2)
