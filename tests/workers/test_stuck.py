"""A process that outlives KILL: the GPU stays held and the server hears of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.workers.conftest import Worker, script
from tests.workers.protocol_server import ProtocolServer
from tests.workers.test_attempts import TREE, tree_pids
from workers import cgroups, journal


@pytest.fixture
def ice() -> Iterator[Path]:
    """A version 1 freezer: what is frozen in it does not even die, like a process stuck in a driver."""
    folder = cgroups.own_folders().get("freezer")
    if folder is None:
        pytest.skip("no cgroup version 1 freezer here, so nothing can be made unkillable")
    path = folder / f"stackweb-test-ice-{os.getpid()}"
    try:
        path.mkdir()
    except OSError:
        pytest.skip(f"{folder} lets us make no group")
    yield path
    (path / "freezer.state").write_text("THAWED")
    assert cgroups.end(path)


@pytest.mark.parametrize("is_shim_dead", [False, True])
def test_r4_what_cannot_be_killed_is_said_and_never_told_as_ended(
    is_shim_dead: bool, ice: Path, worker: Worker, server: ProtocolServer
) -> None:
    held = server.add(script(TREE % "time.sleep(600)"), grace_seconds=0.1)
    server.wait(lambda: b"tree" in held.log and held.beat)
    assert held.beat["is_stuck"] is False
    _, child, _ = tree_pids(held)
    cgroups.join(ice, child)
    (ice / "freezer.state").write_text("FROZEN")

    if is_shim_dead:
        found = journal.read(worker.attempt(held.uuid))
        assert found is not None
        os.kill(found.shim_pid, 9)
    held.cancel = True
    server.wait(lambda: held.beat["is_stuck"])
    assert not held.finish

    (ice / "freezer.state").write_text("THAWED")
    server.wait(lambda: held.finish)
    assert held.finish["reason"] == "cancelled_by_user"
