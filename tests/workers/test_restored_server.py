"""A server whose database was restored does not know an attempt: it runs on, and ends only when it is told to."""

from __future__ import annotations

from tests.workers.conftest import Worker, is_alive, script
from tests.workers.protocol_server import Held, ProtocolServer

LONG = """
import os, pathlib, time
print('{"phase": "running"}', flush=True)
print(os.getpid(), flush=True)
while not pathlib.Path("enough").exists():
    print("tick", flush=True)
    time.sleep(0.1)
"""


def running(server: ProtocolServer) -> tuple[Held, int]:
    held = server.add(script(LONG))
    server.wait(lambda: held.beat and b"tick" in held.log and held.started)
    return held, int(held.started["pid"])


def beats(server: ProtocolServer, held: Held, count: int) -> None:
    for _ in range(count):
        held.beat = {}
        server.wait(lambda: held.beat)


def test_what_is_on_hold_runs_on_and_is_told_later(worker: Worker, server: ProtocolServer) -> None:
    held, pid = running(server)
    held.unknown = 503
    beats(server, held, 3)
    assert is_alive(pid), "a restored server had it killed"
    assert (held.beat["devices"], held.beat["ram_bytes"], "job" in held.beat) == ([], 0, True)
    (worker.attempt(held.uuid) / "work" / "enough").touch()
    beats(server, held, 2)
    assert not held.finish
    held.unknown = 0
    server.wait(lambda: held.finish)
    assert held.finish["exit_code"] == 0


def test_what_an_admin_ends_is_told_only_to_have_ended(worker: Worker, server: ProtocolServer) -> None:
    held, pid = running(server)
    held.unknown = 503
    beats(server, held, 1)
    held.unknown = 410
    server.wait(lambda: held.finish)
    assert (held.finish["reason"], is_alive(pid)) == ("cancelled_by_user", False)
