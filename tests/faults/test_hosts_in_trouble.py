"""R1, R2, R3, R9, R11 and R13 on real processes: what dies on a host, stops, or is out of sight."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.faults import faults
from tests.faults.conftest import Survive
from tests.faults.host import of_attempt
from tests.faults.run import Run
from tests.faults.site import wait_for
from tests.faults.timing import LEASE_SECONDS
from workers import processes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def test_r1_a_killed_agent_finds_its_engines_again(run: Run, survive: Survive) -> None:
    for _ in range(3):
        run.any_attempt()
        survive(faults.kill_agent)
    assert run.adoptions > 0
    assert run.adopted == run.adoptions


def test_r2_whatever_is_killed_nothing_is_left(run: Run, survive: Survive) -> None:
    survive(faults.kill_shim)
    for _ in range(2):
        survive(faults.kill_engine)


def test_r3_a_stopped_agent_is_unreachable_and_its_job_is_not_started_again(run: Run, survive: Survive) -> None:
    promise = run.rig.crowd.ask("stopped-agent", seconds=LEASE_SECONDS + 6.0)
    host, uuid = run.where(promise.job)
    before = host.journals()[uuid]
    host.signal_agent(signal.SIGSTOP)
    time.sleep(LEASE_SECONDS + 2)
    (attempt,) = run.rig.job(promise.job)["attempts"]
    assert (attempt["uuid"], attempt["ended_at"]) == (uuid, None)
    assert host.name in run.rig.silent()
    assert processes.is_same(before.engine_pid, before.engine_ticks)
    host.signal_agent(signal.SIGCONT)
    run.ends(promise.job, "succeeded")
    assert len(run.rig.job(promise.job)["attempts"]) == 1


def test_r9_engines_go_on_behind_a_partition(run: Run, survive: Survive) -> None:
    promise = run.rig.crowd.ask("partitioned", seconds=LEASE_SECONDS + 6.0)
    host, uuid = run.where(promise.job)
    host.signal_proxy(signal.SIGSTOP)
    time.sleep(LEASE_SECONDS + 2)
    assert uuid in host.journals()
    host.signal_proxy(signal.SIGCONT)
    run.ends(promise.job, "succeeded")
    assert len(run.rig.job(promise.job)["attempts"]) == 1
    survive(faults.one_way)


def test_r11_after_a_reboot_the_job_runs_once_more_and_a_reused_pid_is_left_alone(run: Run, survive: Survive) -> None:
    promise = run.rig.crowd.ask("rebooted", seconds=6.0)
    host, uuid = run.where(promise.job)
    pid = host.journals()[uuid].engine_pid
    bystander = None

    def reuse() -> None:
        nonlocal bystander
        bystander = with_pid(pid)

    host.reboot(before_start=reuse)
    try:
        run.ends(promise.job, "succeeded", seconds=90)
        attempts = {each["epoch"]: each for each in run.rig.job(promise.job)["attempts"]}
        assert sorted(attempts) == [1, 2]
        assert attempts[1]["reason"] == "worker_lost"
        assert bystander is None or bystander.poll() is None, "a process that had only the pid was killed"
    finally:
        if bystander is not None:
            bystander.kill()
            bystander.wait()


def with_pid(pid: int) -> subprocess.Popen[bytes] | None:
    """A sleeper that was given exactly this pid; None where the kernel does not let us choose."""
    last = Path("/proc/sys/kernel/ns_last_pid")
    for _ in range(20):
        try:
            last.write_text(str(pid - 1))
        except OSError:
            return None
        sleeper = subprocess.Popen(["sleep", "600"])
        if sleeper.pid == pid:
            return sleeper
        sleeper.kill()
        sleeper.wait()
    return None


def test_r13_a_full_disk_fails_the_job_by_name_and_spares_the_agent(run: Run, survive: Survive) -> None:
    if run.rig.small_disk is None:
        pytest.skip("mounting an 8 MB disk needs root")
    survive(faults.fill_disk)
    host = run.rig.small_disk
    after = len(host.starts())
    wait_for(lambda: len(host.starts()) > after, 60, f"{host.name} works again with room on its disk")


def test_r4_a_cancel_at_each_edge_leaves_no_process(run: Run) -> None:
    queued = run.rig.crowd.ask("cancel-queued", seconds=30, ignore_term=True)
    run.site.post(f"jobs/{queued.job}/cancel", {})
    starting = run.rig.crowd.ask("cancel-starting", seconds=30, ignore_term=True)
    wait_for(lambda: run.rig.job(starting.job)["status"] != "queued", 60, "it is placed")
    run.site.post(f"jobs/{starting.job}/cancel", {})
    running = run.rig.crowd.ask("cancel-running", seconds=30, ignore_term=True)
    wait_for(lambda: run.rig.job(running.job)["status"] == "running", 60, "it runs")
    run.site.post(f"jobs/{running.job}/cancel", {})
    for promise in (queued, starting, running):
        run.ends(promise.job, "cancelled", seconds=45)
        for attempt in run.rig.job(promise.job)["attempts"]:
            assert of_attempt(attempt["uuid"]) == set()
            assert attempt["reason"] == "cancelled_by_user"
