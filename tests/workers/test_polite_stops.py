"""A worker that is told to stop, as by an upgrade: engines go on, and the next start takes them over."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

import pytest

from tests.workers.conftest import Worker, is_alive, script
from tests.workers.protocol_server import ProtocolServer
from tests.workers.test_attempts import tree_pids
from workers import journal

UNTIL_GO = """
import os, pathlib, time
print("tree", os.getpid())
print('{"phase": "running"}')
while not pathlib.Path("go").exists(): time.sleep(0.05)
print("bye")
"""


class Gate:
    """Holds a call of the worker open, until the test lets it through."""

    def __init__(self) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()

    def pass_through(self, *_: object) -> None:
        self.reached.set()
        assert self.opened.wait(20)


class GatedBlobs(dict[str, bytes]):
    def __init__(self, blobs: dict[str, bytes], gate: Gate) -> None:
        super().__init__(blobs)
        self.gate = gate

    def __getitem__(self, sha256: str) -> bytes:
        self.gate.pass_through()
        return super().__getitem__(sha256)


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_an_engine_goes_on_and_ends_well_under_the_next_worker(
    number: int, make_worker: Callable[..., Worker], server: ProtocolServer
) -> None:
    worker = make_worker()
    worker.start()
    held = server.add(script(UNTIL_GO))
    server.wait(lambda: b"tree" in held.log)
    (engine,) = tree_pids(held)

    assert worker.end(number) == 0
    assert is_alive(engine)
    assert (held.finish, server.has_left) == ({}, False)
    held.beat = {}
    worker.start()
    server.wait(lambda: held.beat.get("phase") == "running")
    assert is_alive(engine)
    (worker.attempt(held.uuid) / "work/go").touch()

    server.wait(lambda: held.finish)
    assert (held.finish["exit_code"], held.finish["reason"], held.claims) == (0, None, 1)
    assert held.log.decode() == f'tree {engine}\n{{"phase": "running"}}\nbye\n'


def test_an_attempt_in_preparation_is_neither_lost_nor_doubled(
    gate: Gate, make_worker: Callable[..., Worker], server: ProtocolServer
) -> None:
    data = server.add_input("data.txt", b"the input")
    server.blobs = GatedBlobs(server.blobs, gate)
    held = server.add(script("print('ran')", inputs=[data]))
    worker = make_worker()
    worker.start()
    assert gate.reached.wait(20)

    assert worker.end() == 0
    gate.opened.set()
    worker.start()

    server.wait(lambda: held.finish)
    assert (held.finish["reason"], held.claims, held.log) == (None, 1, b"ran\n")


def test_an_end_that_is_being_told_is_told_once_more_and_counts_once(
    gate: Gate, make_worker: Callable[..., Worker], server: ProtocolServer
) -> None:
    server.on_finish = gate.pass_through
    held = server.add(script("print('ran')"))
    worker = make_worker()
    worker.start()
    assert gate.reached.wait(20)

    assert worker.end() == 0
    gate.opened.set()
    worker.start()

    server.wait(lambda: not worker.attempt(held.uuid).exists())
    assert (held.finish["reason"], held.claims, held.log) == (None, 1, b"ran\n")


def test_stops_at_any_moment_of_a_start_run_the_engine_once(
    make_worker: Callable[..., Worker], server: ProtocolServer
) -> None:
    """Each turn the worker gets one step further: the claim, the launch, the first report, the end."""
    worker = make_worker()
    held = server.add(script(UNTIL_GO))
    folder = worker.attempt(held.uuid)
    steps: list[Callable[[], object]] = [
        lambda: held.claimed,
        lambda: held.beat and (folder / "launch.json").exists(),
        lambda: held.beat and journal.read(folder),
        lambda: held.beat and held.started,
    ]
    for reached in steps:
        held.beat = {}
        worker.start()
        server.wait(reached)
        assert worker.end() == 0
    worker.start()
    (folder / "work/go").touch()
    server.wait(lambda: not folder.exists())
    assert (held.finish["reason"], held.claims, held.log.count(b"tree"), held.log.count(b"bye")) == (None, 1, 1, 1)


def test_what_ends_while_a_host_shuts_down_is_interrupted_and_not_failed(
    make_worker: Callable[..., Worker], server: ProtocolServer
) -> None:
    """The worker stops first; then everything else on the machine is asked to."""
    worker = make_worker()
    worker.start()
    held = server.add(script(UNTIL_GO))
    server.wait(lambda: b"tree" in held.log)
    assert worker.end() == 0
    found = journal.read(worker.attempt(held.uuid))
    assert found is not None
    os.kill(found.shim_pid, signal.SIGTERM)
    worker.start()
    server.wait(lambda: held.finish)
    assert (held.finish["reason"], held.finish["exit_code"]) == ("interrupted", -signal.SIGTERM)
