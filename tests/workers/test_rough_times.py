"""Kills, jumping clocks, floods of output and full disks, against real workers and shims."""

from __future__ import annotations

import ast
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.workers.conftest import ROOT, Worker, is_alive, script
from tests.workers.protocol_server import Held, ProtocolServer
from tests.workers.script_engine import HEAD_BYTES, TAIL_BYTES
from tests.workers.test_attempts import SERVE, TREE, tree_pids
from workers import journal, processes
from workers.journal import Journal, write_json

pytestmark = pytest.mark.slow

AGENT_KILLS = int(os.environ.get("STACKWEB_AGENT_KILLS", "10"))  # the fault rig asks for 200


def journal_of(worker: Worker, held: Held) -> Journal:
    found = journal.read(worker.attempt(held.uuid))
    assert found is not None
    return found


class Asker(threading.Thread):
    """Asks an endpoint without a pause and counts what fails."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.url = f"http://127.0.0.1:{port}/health"
        self.done = threading.Event()
        self.asked = self.failed = 0

    def run(self) -> None:
        while not self.done.wait(0.02):
            self.asked += 1
            try:
                urllib.request.urlopen(self.url, timeout=5).close()
            except (urllib.error.URLError, OSError):
                self.failed += 1


@pytest.mark.timeout(60 + 5 * AGENT_KILLS)
def test_r1_an_agent_killed_again_and_again_never_costs_a_request(
    make_worker: Callable[..., Worker], server: ProtocolServer
) -> None:
    worker = make_worker()
    worker.start()
    held = server.add(script(SERVE, kind="serve"))
    server.wait(lambda: held.beat.get("phase") == "ready")
    engine = journal_of(worker, held).engine_pid
    asker = Asker(held.beat["port"])
    asker.start()
    for turn in range(AGENT_KILLS):
        worker.end(signal.SIGTERM if turn % 2 else signal.SIGKILL)  # an upgrade is a polite one
        held.beat = {}
        worker.start()
        server.wait(lambda: held.beat.get("phase") == "ready", 15)
        assert journal_of(worker, held).engine_pid == engine
    asker.done.set()
    asker.join()
    assert (held.claims, asker.failed) == (1, 0)
    assert asker.asked > AGENT_KILLS
    held.cancel = True
    server.wait(lambda: held.finish)


@pytest.mark.parametrize("change", ["fields missing", "fields unknown", "unreadable"])
def test_r21_an_upgraded_agent_adopts_what_another_version_journalled(
    change: str, make_worker: Callable[..., Worker], server: ProtocolServer
) -> None:
    worker = make_worker()
    worker.start()
    code = "import os, pathlib, time\nprint('tree', os.getpid())\nprint('{\"phase\": \"running\"}')\n"
    held = server.add(script(code + "while not pathlib.Path('go').exists(): time.sleep(0.05)"))
    server.wait(lambda: b"tree" in held.log)
    worker.end(signal.SIGKILL)
    folder = worker.attempt(held.uuid)
    known: dict[str, Any] = asdict(journal_of(worker, held))
    if change == "fields missing":
        known = {name: known[name] for name in ("epoch", "engine_pid", "engine_ticks", "started_at", "state")}
    write_json(folder / journal.NAME, known | ({"from_the_future": [1]} if change == "fields unknown" else {}))
    if change == "unreadable":
        (folder / journal.NAME).write_text("{")
    (engine,) = tree_pids(held)
    held.beat = {}
    worker.start()
    server.wait(lambda: held.beat)
    assert is_alive(engine)
    (folder / "work/go").touch()
    server.wait(lambda: held.finish)
    assert (held.finish["exit_code"], held.finish["reason"], held.claims) == (0, None, 1)


def test_r11_with_no_journal_and_no_shim_it_is_lost_and_nothing_of_it_lives(
    make_worker: Callable[..., Worker], server: ProtocolServer
) -> None:
    worker = make_worker()
    worker.start()
    held = server.add(script(TREE % "time.sleep(600)"))
    server.wait(lambda: b"tree" in held.log)
    worker.end(signal.SIGKILL)
    os.kill(journal_of(worker, held).shim_pid, signal.SIGKILL)
    (worker.attempt(held.uuid) / journal.NAME).unlink()
    assert all(map(is_alive, tree_pids(held)))
    worker.start()
    server.wait(lambda: held.finish, 15)
    assert held.finish["reason"] == "worker_lost"
    assert not any(map(is_alive, tree_pids(held)))


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "600"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize("boot_id", ["another", "this one", ""])
def test_r11_a_reused_pid_is_left_alone(
    boot_id: str, bystander: subprocess.Popen[bytes], make_worker: Callable[..., Worker], server: ProtocolServer
) -> None:
    worker = make_worker()
    worker.start()
    held = server.add(script("print('tree')\nimport time; time.sleep(600)"))
    server.wait(lambda: b"tree" in held.log)
    worker.end(signal.SIGKILL)
    found = journal_of(worker, held)
    os.kill(found.shim_pid, signal.SIGKILL)
    assert processes.end_attempt(held.uuid, found.engine_pid, found.engine_ticks, found.cgroup)
    # All is gone, and `sleep` has its pids now; the ticks are of then.
    found.boot_id = processes.boot_id() if boot_id == "this one" else boot_id
    found.shim_pid = found.engine_pid = bystander.pid
    journal.write(worker.attempt(held.uuid), found)
    worker.start()
    server.wait(lambda: held.finish)
    assert held.finish["reason"] == "worker_lost"
    assert bystander.poll() is None


def test_a_held_process_is_the_one_that_was_meant(bystander: subprocess.Popen[bytes]) -> None:
    ticks = processes.start_ticks(bystander.pid)
    other = processes.Held(bystander.pid, ticks + 1)
    other.send(signal.SIGKILL)
    meant = processes.Held(bystander.pid, ticks)
    assert (other.is_alive(), meant.is_alive()) == (False, True)
    meant.send(signal.SIGKILL)
    bystander.wait()
    assert not meant.is_alive()
    meant.send(signal.SIGKILL)  # gone is fine
    meant.close()


def test_r12_a_clock_that_jumps_ends_nothing(
    make_worker: Callable[..., Worker], server: ProtocolServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_CLOCK_JUMPS", "1")
    worker = make_worker()
    worker.start()
    step = "import time\nfor n in range(1, 9): print('{\"progress_done\": %d}' % n, flush=True); time.sleep(0.2)"
    batch = server.add(script(step), stall_seconds=30, start_timeout_seconds=30)
    up = server.add(script(SERVE, kind="serve"), start_timeout_seconds=30)
    server.wait(lambda: batch.finish and up.beat.get("phase") == "ready")
    assert batch.finish["reason"] is None
    assert not up.finish


WALL_CLOCKS = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "time.localtime", "time.gmtime"}
# Labels for people and charts: the moment a sample or a metric was taken.
LABELS = {"workers/inventory.py", "workers/progress.py"}


def test_r12_no_decision_of_the_worker_reads_the_wall_clock() -> None:
    found = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "workers").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and ast.unparse(node) in WALL_CLOCKS
    }
    assert found == LABELS


FLOOD = """
import os, sys, time
print("tree", os.getpid(), flush=True)
line = b"\\x1b[31m" + b"x" * 1000 + b"\\0\\r\\n"
until = time.monotonic() + 3
while time.monotonic() < until:
    os.write(1, line * 200)
os.write(1, b"y" * 10_000_000 + b"\\nthe last line\\n")
"""


def test_r19_a_flood_of_output_is_capped_and_costs_little_memory(worker: Worker, server: ProtocolServer) -> None:
    """As fast as it goes, with colours, NULs and one line of 10 MB."""
    held = server.add(script(FLOOD), stall_seconds=0)
    other = server.add(script("import time\nfor n in range(20): print(n, flush=True); time.sleep(0.1)"))
    server.wait(lambda: b"tree" in held.log)
    shim = psutil.Process(journal_of(worker, held).shim_pid)
    peak = written = 0
    while not held.finish:
        for process in (shim, psutil.Process(worker.process.pid) if worker.process else shim):
            try:
                peak = max(peak, process.memory_info().rss)
                written = max(written, shim.io_counters().read_chars)
            except psutil.Error:
                break
        with server.change:
            server.change.wait(0.05)
    assert held.finish["exit_code"] == 0
    assert written > 20_000_000, "no flood"
    assert len(held.log) < HEAD_BYTES + TAIL_BYTES * 2 + 1000
    assert held.log.endswith(b"the last line\n")
    assert b"bytes left out here" in held.log
    assert peak < 200 * 1024**2
    server.wait(lambda: other.finish)
    assert other.log.splitlines()[-1] == b"19"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """8 MB, mounted where the worker keeps its state."""
    folder = tmp_path / "state"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small tmpfs needs root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """To the last page."""
    ballast = folder / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        for _ in range(9 * 2**8):
            file.write(bytes(4096))
    assert shutil.disk_usage(folder).free == 0
    return ballast


FILL = "import time\nwith open('%s', 'wb') as file:\n  for _ in range(64): file.write(bytes(10**6)); file.flush()\n"


def test_r13_a_full_disk_fails_the_job_and_not_the_worker(
    small_disk: Path, make_worker: Callable[..., Worker], server: ProtocolServer
) -> None:
    worker = make_worker()
    worker.start()
    checkpoint = server.add(script(FILL % "checkpoint.bin"))
    server.wait(lambda: checkpoint.finish)
    log = server.add(script("import os\nfor _ in range(8000): os.write(1, b'z' * 999 + b'\\n')"))
    server.wait(lambda: log.finish)
    assert checkpoint.finish["reason"] == "disk_full"
    assert log.finish["reason"] is None  # capped, so it never fills the disk

    # An ended attempt gives its room back a moment after its end was told.
    server.wait(lambda: not any(worker.attempt(held.uuid).exists() for held in (checkpoint, log)))
    ballast = fill(small_disk)
    nothing_starts = server.add(script("print('ran')"))
    server.wait(lambda: nothing_starts.finish)
    assert (nothing_starts.finish["reason"], nothing_starts.log) == ("disk_full", b"")
    ballast.unlink()
    again = server.add(script("print('ran')"))
    server.wait(lambda: again.finish)
    assert (again.finish["reason"], again.log) == (None, b"ran\n")
    assert worker.process is not None
    assert worker.process.poll() is None


def test_r13_a_run_survives_a_disk_that_is_full_for_a_while(
    small_disk: Path, make_worker: Callable[..., Worker], server: ProtocolServer
) -> None:
    """Journal, record and log have no room, an agent dies meanwhile: it goes on and ends well."""
    worker = make_worker()
    worker.start()
    code = "import os, pathlib, time\nprint('tree', os.getpid(), flush=True)\n"
    held = server.add(script(code + "while not pathlib.Path('go').exists(): time.sleep(0.05)"))
    server.wait(lambda: b"tree" in held.log)
    go = worker.attempt(held.uuid) / "work/go"
    go_later = go.with_name("later")
    go_later.touch()
    fill(small_disk)
    worker.end(signal.SIGKILL)
    held.beat = {}
    worker.start()
    server.wait(lambda: held.beat)
    go_later.rename(go)
    server.wait(lambda: held.finish)
    assert (held.finish["exit_code"], held.finish["reason"]) == (0, None)


@pytest.mark.parametrize("starts", [8, pytest.param(100, marks=[pytest.mark.long, pytest.mark.timeout(900)])])
def test_r16_pre_taken_ports_never_surface(worker: Worker, server: ProtocolServer, starts: int) -> None:
    """All at once, each port leased to two of them and listened on by somebody else."""
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(starts // 2)]
    ports = [each.getsockname()[1] for each in taken]
    patience = 40 + 5 * starts  # for as many engines on two cores
    held = [
        server.add(script(SERVE, kind="serve"), port=port, start_timeout_seconds=patience) for port in [*ports, *ports]
    ]
    try:
        server.wait(lambda: all(each.beat.get("phase") == "ready" for each in held), patience)
        assert len({each.beat["port"] for each in held} | set(ports)) == starts + len(ports)
    finally:
        for each in taken:
            each.close()
    assert not any(each.finish for each in held)


def test_an_environment_that_was_deleted_is_reported_before_the_failure(
    make_worker: Callable[..., Worker], server: ProtocolServer
) -> None:
    worker = make_worker()
    worker.start()
    server.wait(lambda: server.inventories)
    seen: list[int] = []
    server.on_finish = lambda held: seen.append(len(server.inventories))
    before = len(server.inventories)
    held = server.add(script("") | {"engine": "locked"})
    server.wait(lambda: held.finish)
    assert held.finish["reason"] == "environment_failed"
    assert "not installed" in held.finish["cause"]
    assert seen[0] > before
