"""What ends with an attempt, and by what right: its own cgroup, or its process group and its mark."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from apps.engines.base import RunSpec
from tests.workers.conftest import Worker, is_alive, script
from tests.workers.protocol_server import Held, ProtocolServer
from tests.workers.script_engine import ScriptEngine
from tests.workers.test_attempts import TREE, tree_pids
from workers import cgroups, journal, processes, systemd
from workers.client import Claim
from workers.journal import Journal
from workers.launch import Plan
from workers.outcome import judge
from workers.progress import Progress
from workers.records import Record

pytestmark = pytest.mark.slow

HAS_CGROUPS = cgroups.try_isolation() == "cgroup"
needs_cgroups = pytest.mark.skipif(not HAS_CGROUPS, reason="this machine lets us make no cgroup")
ISOLATIONS = [pytest.param("cgroup", marks=needs_cgroups), "process_group"]

# A daemon by a double fork, in a session of its own, which says nothing of its attempt any more.
HIDING = """
import os, subprocess, sys, time
sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
code = ("import os, subprocess, sys\\n"
        "print(subprocess.Popen(sys.argv[1:], env={}, start_new_session=True, stdout=2).pid)")
daemon = subprocess.run([sys.executable, "-c", code, *sleeper], stdout=subprocess.PIPE, env={}).stdout
print("tree", os.getpid(), int(daemon), flush=True)
time.sleep(600)
"""


def running_journal(worker: Worker, server: ProtocolServer, held: Held) -> Journal:
    server.wait(lambda: b"tree" in held.log)
    found = journal.read(worker.attempt(held.uuid))
    assert found is not None
    return found


@pytest.mark.parametrize("isolation", ISOLATIONS)
@pytest.mark.parametrize("victim", ["shim", "api", "core", "daemon"])
def test_r2_whoever_is_killed_nothing_is_left_and_only_then_it_is_told(
    isolation: str, victim: str, make_worker: Callable[..., Worker], server: ProtocolServer
) -> None:
    worker = make_worker(use_cgroups=isolation == "cgroup")
    worker.start()
    # The engine notices the death of either child, as engines do.
    held = server.add(script(TREE % WATCHED_CHILDREN), grace_seconds=0.2)
    found = running_journal(worker, server, held)
    api, core, daemon = tree_pids(held)
    alive_at_finish: list[bool] = []
    server.on_finish = lambda held: alive_at_finish.extend(map(is_alive, tree_pids(held)))

    os.kill({"shim": found.shim_pid, "api": api, "core": core, "daemon": daemon}[victim], signal.SIGKILL)
    server.wait(lambda: held.finish, 10)

    assert alive_at_finish == [False, False, False]
    assert held.started["isolation"] == isolation
    assert held.finish["reason"] == ("worker_lost" if victim == "shim" else "engine_exited")
    assert not found.cgroup or not Path(found.cgroup).exists()


WATCHED_CHILDREN = """
import pathlib
def lives(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
while lives(child.pid) and lives(int(daemon)): time.sleep(0.05)
sys.exit(1)
"""


@needs_cgroups
@pytest.mark.parametrize("is_agent_up", [True, False])
def test_r2_a_process_that_hides_ends_with_its_killed_shim(
    is_agent_up: bool, worker: Worker, server: ProtocolServer
) -> None:
    held = server.add(script(HIDING))
    found = running_journal(worker, server, held)
    if not is_agent_up:
        worker.end(signal.SIGKILL)
    os.kill(found.shim_pid, signal.SIGKILL)
    if not is_agent_up:
        worker.start()
    server.wait(lambda: held.finish, 10)
    assert held.finish["reason"] == "worker_lost"
    assert not any(map(is_alive, tree_pids(held)))
    assert not Path(found.cgroup).exists()


def test_the_inventory_says_how_attempts_are_kept_apart(
    make_worker: Callable[..., Worker], server: ProtocolServer
) -> None:
    worker = make_worker(use_cgroups=False)
    worker.start()
    server.wait(lambda: server.inventories)
    assert server.inventories[0]["isolation"] == "process_group"


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "600"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize("way", ["cgroup.kill", "cgroup.freeze", "freezer"])
def test_a_group_ends_in_each_way_a_kernel_may_offer(
    way: str, sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = cgroups.own_folders()
    controllers = "freezer" if way == "freezer" else ""
    if controllers not in folders:
        pytest.skip(f"no cgroup version {1 if controllers else 2} is mounted here")
    monkeypatch.setattr(cgroups, "own_folders", lambda: {controllers: folders[controllers]})
    path = cgroups.make(f"stackweb-test-{os.getpid()}")
    if path is None:
        pytest.skip(f"{folders[controllers]} lets us make no group")
    if way == "cgroup.freeze":  # a kernel before 5.14
        monkeypatch.setattr(cgroups, "KILL", "cgroup.no-such-file")
    inner = path / "below"
    inner.mkdir()
    cgroups.join(inner, sleeper.pid)
    assert (cgroups.is_populated(path), cgroups.pids(path)) == (True, {sleeper.pid})
    cgroups.kill(path)
    assert sleeper.wait(5) == -signal.SIGKILL
    assert cgroups.end(path, 5)
    assert not path.exists()


def test_only_a_group_of_that_name_is_ended(sleeper: subprocess.Popen[bytes]) -> None:
    path = cgroups.make(f"stackweb-other-{os.getpid()}")
    if path is None:
        pytest.skip("this machine lets us make no cgroup")
    cgroups.join(path, sleeper.pid)
    assert processes.end_attempt("an-uuid-of-nobody", 0, 0, str(path))
    assert sleeper.poll() is None
    assert cgroups.find(path.name) == path
    assert cgroups.end(path)


@pytest.mark.parametrize("shown", [[False, True, False, False, False], [False, False, True, False, False, False]])
def test_an_attempt_is_gone_only_after_three_empty_looks_in_a_row(
    shown: list[bool], sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of an exec a process shows no environment, and a look passes it by."""
    looks = iter(shown)
    monkeypatch.setattr(processes, "of_attempt", lambda *_: {sleeper.pid} if next(looks) else set())
    assert processes.end_attempt("an-uuid-of-nobody", 0, 0)
    assert list(looks) == [], "it looked until three in a row were empty"
    assert sleeper.wait(5) == -signal.SIGKILL


def test_r20_a_kill_counted_in_its_own_group_is_out_of_memory(tmp_path: Path) -> None:
    (tmp_path / "memory.events").write_text("low 0\nmax 12\noom 1\noom_kill 1\n")
    kills = cgroups.memory_kills(tmp_path)
    spec = RunSpec(kind="train", engine="script")
    claim = Claim(
        lease_token="t", lease_seconds=1, spec={}, placement={}, stop_grace_seconds=1, start_timeout_seconds=1
    )
    told = [
        judge(
            Plan(spec, ScriptEngine()),
            Record(uuid="u", epoch=1, claim=claim, memory_kills=10**9),
            Journal("b", 1, 1, 1, exit_code=code, memory_kills=counted),
            Progress("train", now=0),
            tmp_path,
        ).reason
        for code, counted in ((1, kills), (-9, 0), (1, None))
    ]
    assert told == ["out_of_memory", "engine_exited", "engine_exited"]


@needs_cgroups
def test_r20_memory_runs_out_in_the_attempts_own_group(worker: Worker, server: ProtocolServer) -> None:
    held = server.add(script("import os, time\nprint('tree', os.getpid())\ntime.sleep(1)\nblob = bytearray(10**9)"))
    found = running_journal(worker, server, held)
    limit = Path(found.cgroup) / "memory.max"
    if not limit.exists():
        pytest.skip("the memory controller is not on cgroup version 2 here")
    limit.write_text(str(100 * 1024**2))
    server.wait(lambda: held.finish)
    assert held.finish["reason"] == "out_of_memory"


def test_without_cgroup_folders_the_answer_is_process_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroups, "own_folders", lambda: {"": Path("/proc/self"), "freezer": Path("/nonexistent")})
    started = time.monotonic()
    assert cgroups.try_isolation() == "process_group"
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(("told", "is_used"), [("cgroup", True), ("process_group", False)])
def test_systemd_is_asked_for_a_scope_where_no_group_can_be_made(
    told: str, is_used: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for systemd-run that notes its options; on a real systemd this has not been run yet."""
    program = tmp_path / "systemd-run"
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/options\necho {told}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(systemd, "try_isolation", lambda: "process_group")
    for cached in (systemd.scope, systemd.isolation):
        cached.cache_clear()
    try:
        assert systemd.isolation() == told
        assert bool(systemd.scope()) is is_used
        options = (tmp_path / "options").read_text()
        assert "--scope --quiet --collect --property=Delegate=yes --" in options
        assert options.rstrip().endswith("-m workers.cgroups")
    finally:
        for cached in (systemd.scope, systemd.isolation):
            cached.cache_clear()
