"""R13 where it hurts: a checkpoint and a download on a disk that fills up. What was good stays, the worker lives, and
with room again the next attempt goes on."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.catalog.hub_server import COMMIT, running_hub, tiny_repo
from tests.catalog.test_download import PROGRAM, run
from tests.workers.conftest import Worker
from tests.workers.protocol_server import ProtocolServer
from tests.workers.test_checkpoints import next_attempt, spec, steps
from tests.workers.test_rough_times import fill, small_disk

__all__ = ["small_disk"]
pytestmark = pytest.mark.slow


def test_r13_a_checkpoint_without_room_leaves_the_one_before_to_go_on_from(
    small_disk: Path, make_worker: Callable[..., Worker], server: ProtocolServer
) -> None:
    worker = make_worker()
    worker.start()
    held = server.add(spec(seconds=12.0, save_seconds=0.5))  # two steps to the next checkpoint
    work = worker.attempt(held.uuid) / "work/output"
    server.wait((work / "checkpoint-4/trainer_state.json").exists)
    ballast = fill(small_disk)
    server.wait(lambda: held.finish)
    assert held.finish["reason"] == "disk_full"
    assert worker.process is not None
    assert worker.process.poll() is None
    server.wait(lambda: not (worker.attempt(held.uuid) / "record.json").exists())
    assert [path.name for path in work.glob("checkpoint-*")] == ["checkpoint-4"]
    ballast.unlink()

    again = next_attempt(server, held)
    server.wait(lambda: again.finish)
    assert (again.finish["reason"], again.started["resumed"]) == (None, {"epoch": 1, "step": 4})
    assert steps(again) == [5, 6, 7, 8]


def test_r13_a_download_on_a_full_disk_begins_nothing_and_ends_well_with_room(small_disk: Path, tmp_path: Path) -> None:
    record = tmp_path / "record.json"

    def bring(into: Path) -> subprocess.CompletedProcess[str]:
        argv = [*PROGRAM, f"hub:tiny/model@{COMMIT}", "--into", str(into), "--record", str(record)]
        return run(argv, hub, tmp_path)

    with running_hub() as hub:
        hub.repos["tiny/model"] = tiny_repo()
        fill(small_disk)
        refused = bring(small_disk / "model")
        assert (refused.returncode, "disk_full" in refused.stdout, "free some space" in refused.stdout) == (
            1,
            True,
            True,
        )
        assert not record.exists()
        assert [path for path in small_disk.glob("model/**/*") if path.is_file()] == []
        assert bring(tmp_path / "model").returncode == 0
    files = json.loads(record.read_text())["files"]
    assert all((tmp_path / "model" / file["path"]).stat().st_size == file["size_bytes"] for file in files)
