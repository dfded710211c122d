"""R10, R12, R16 and R19: many silent hosts, wrong clocks, taken ports, floods of output.

R14 is in tests/catalog/test_download.py (cut and damaged downloads) and R20 in tests/workers/test_isolation.py
(memory that runs out in the attempt's own group).
"""

from __future__ import annotations

import contextlib
import glob
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from tests.faults.host import FakeHost
from tests.faults.run import Run
from tests.faults.site import wait_for
from tests.faults.timing import LEASE_SECONDS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
FIRST_PORT = 18100
MEMORY_BYTES = 200 * 1024**2
PAGE_SECONDS = 3.0  # on two cores that also carry the flood and three hosts


def test_r10_while_most_hosts_are_silent_nothing_is_placed(run: Run) -> None:
    *silent, last = run.rig.hosts
    for host in silent:
        host.signal_agent(signal.SIGSTOP)
    try:
        wait_for(lambda: len(run.rig.silent()) == len(silent), 20, "most hosts are silent")
        time.sleep(3)  # what was placed just before has started
        before = len(last.starts())
        time.sleep(LEASE_SECONDS)
        assert len(last.starts()) == before, "placed on the host that still answers"
    finally:
        for host in silent:
            host.signal_agent(signal.SIGCONT)
    assert run.flow_again("R10") < 30


def faketime() -> str:
    """The library's path, or an empty text."""
    found = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")
    return os.environ.get("FAKETIME_LIBRARY") or (found[0] if found else "")


@pytest.mark.skipif(not faketime(), reason="libfaketime is not installed (apt-get install libfaketime)")
def test_r12_a_clock_that_jumps_ends_nothing(run: Run) -> None:
    for host, jump in zip(run.rig.hosts, ("+1d", "-1d", "+1h"), strict=True):
        host.kill_agent()
        plain = host.env
        host.env = plain | {"LD_PRELOAD": faketime(), "FAKETIME": jump, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        host.start()
        host.env = plain
    promises = [run.rig.crowd.ask(f"clock-{number}", seconds=LEASE_SECONDS + 3.0) for number in range(3)]
    for promise in promises:
        run.ends(promise.job, "succeeded", seconds=90)
        assert len(run.rig.job(promise.job)["attempts"]) == 1
    for host in run.rig.hosts:
        host.kill_agent()
        host.start()


def test_r16_taken_ports_are_passed_over_and_r1_no_request_fails_without_an_agent(run: Run) -> None:
    with taken_ports(4), endpoints(run, 3) as jobs:
        for job in jobs:
            wait_for(lambda job=job: run.rig.job(job)["status"] == "running", 90, f"{job} is ready")
            assert len(run.rig.job(job)["attempts"]) == 1, "a taken port was shown as a lost attempt"
        host, uuid = run.where(jobs[0])
        with asking(host.journals()[uuid].port) as failed:
            for _ in range(2):
                host.kill_agent()
                time.sleep(1)
                host.start()
                wait_for(lambda: host.name not in run.rig.silent(), 20, f"{host.name} is heard again")
        assert failed == []
        assert uuid in host.journals()


@contextmanager
def taken_ports(count: int) -> Iterator[None]:
    """The first ports of every host's range, listened on by somebody else."""
    with ExitStack() as stack:
        for number in range(count):
            taken = stack.enter_context(socket.socket())
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                taken.bind(("127.0.0.1", FIRST_PORT + number))
                taken.listen(1)
            except OSError:
                continue  # taken already, which is as good
        yield


@contextmanager
def endpoints(run: Run, count: int) -> Iterator[list[str]]:
    """Jobs of as many fake endpoints, stopped in the end."""
    made = []
    try:
        for number in range(count):
            wish = {
                "version": run.rig.crowd.base, "engine": "fake-serve", "name": f"faults-{number}",
                "options": {"seconds": 0.5},
            }  # fmt: skip
            made.append(run.site.post("endpoints", wish, key=f"faults-{number}"))
        yield [each["job"]["id"] for each in made]
    finally:
        for each in made:
            run.site.post(f"endpoints/{each['id']}/stop", {})
            wait_for(lambda each=each: run.rig.job(each["job"]["id"])["finished_at"], 60, "an endpoint stops")


@contextmanager
def asking(port: int) -> Iterator[list[str]]:
    """Asks without pause; yields what failed."""
    failed: list[str] = []
    must_stop = threading.Event()

    def ask() -> None:
        while not must_stop.wait(0.05):
            try:
                answer = httpx.get(f"http://127.0.0.1:{port}/v1/models", timeout=5)
                answer.raise_for_status()
            except httpx.HTTPError as error:
                failed.append(repr(error))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    yield failed
    must_stop.set()
    thread.join(10)


def test_r19_a_flood_of_output_stays_bounded_and_harms_nobody(run: Run) -> None:
    promise = run.rig.crowd.ask("flood", seconds=2.0, log_lines=1_000_000)
    host, uuid = run.where(promise.job)
    shim = host.journals()[uuid].shim_pid
    folder = host.folder / "state" / "attempts" / uuid
    largest = {"shim": 0, "agent": 0, "log": 0}
    slowest = 0.0
    while uuid in host.journals():
        measure(host, shim, largest)
        largest["log"] = max(largest["log"], log_bytes(folder))
        began = time.monotonic()
        assert run.site.get("jobs", limit=50)["items"]
        slowest = max(slowest, time.monotonic() - began)
        time.sleep(0.2)
    run.ends(promise.job, "succeeded", seconds=90)
    assert largest["shim"] < MEMORY_BYTES
    assert largest["agent"] < MEMORY_BYTES
    assert largest["log"] < 6 * 1024**2  # head, tail, and what is being appended
    assert slowest < PAGE_SECONDS
    kept = run.rig.job(promise.job)["attempts"][0]
    assert kept["reason"] == ""


def measure(host: FakeHost, shim: int, largest: dict[str, int]) -> None:
    assert host.agent is not None
    for name, pid in (("shim", shim), ("agent", host.agent.pid)):
        try:
            largest[name] = max(largest[name], psutil.Process(pid).memory_info().rss)
        except psutil.NoSuchProcess:
            continue


def log_bytes(folder: Path) -> int:
    """What the attempt's log takes on disk; files come and go meanwhile."""
    total = 0
    for path in folder.glob("*"):
        if path.name == "log" or path.name.startswith("tail."):
            with contextlib.suppress(FileNotFoundError):
                total += path.stat().st_size
    return total
