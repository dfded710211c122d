"""A training that is killed while it saves, with real processes: the next attempt goes on from the save before."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.workers.conftest import Worker, is_alive
from tests.workers.protocol_server import Held, ProtocolServer
from workers import journal


def spec(**options: Any) -> dict[str, Any]:
    options = {"seconds": 0.4, "steps": 8, "save_steps": 2, **options}
    return {"kind": "train", "engine": "fake-train", "options": options}


def kill_while_it_saves(server: ProtocolServer, worker: Worker, held: Held, step: int) -> None:
    """While the optimizer of that checkpoint is half written."""
    saving = worker.attempt(held.uuid) / f"work/output/checkpoint-{step}/optimizer.pt"
    server.wait(saving.exists)
    kill(server, worker, held)
    assert sorted(path.name for path in saving.parent.iterdir())[-1] == "optimizer.pt"


def kill(server: ProtocolServer, worker: Worker, held: Held) -> None:
    """With -9, both the engine and what watches it."""
    found = journal.read(worker.attempt(held.uuid))
    assert found is not None
    os.kill(found.shim_pid, signal.SIGKILL)
    os.kill(found.engine_pid, signal.SIGKILL)
    server.wait(lambda: held.finish)
    assert held.finish["reason"] == "worker_lost"
    assert not is_alive(found.engine_pid)


def the_one_left(server: ProtocolServer, output: Path) -> Path:
    """The checkpoint that is kept for the next attempt; the others go once the end was told."""
    server.wait(lambda: len(list(output.glob("checkpoint-*"))) == 1)
    return next(output.glob("checkpoint-*"))


def next_attempt(server: ProtocolServer, *lost: Held, **options: Any) -> Held:
    resume_from = [{"uuid": each.uuid, "epoch": each.epoch} for each in lost]
    return server.add(spec(**options), epoch=len(lost) + 1, resume_from=resume_from)


def steps(held: Held) -> list[float]:
    return sorted(step for name, step in held.metrics if name == "loss")


def test_a_run_killed_while_it_saves_goes_on_from_the_save_before(worker: Worker, server: ProtocolServer) -> None:
    first = server.add(spec(save_seconds=1.0))
    kill_while_it_saves(server, worker, first, step=4)
    second = next_attempt(server, first, save_seconds=1.0)
    kill_while_it_saves(server, worker, second, step=4)
    third = next_attempt(server, first, second)
    server.wait(lambda: third.finish)

    assert first.started["resumed"] is None
    assert second.started["resumed"] == {"epoch": 1, "step": 2}
    assert third.started["resumed"] == {"epoch": 2, "step": 2}
    assert steps(second) == [3, 4]
    assert steps(third) == [3, 4, 5, 6, 7, 8]
    assert third.finish["reason"] is None, third.finish
    made = [file["path"] for file in third.finish["result"]["produced"][0]["files"]]
    assert made == ["adapter_config.json", "adapter_model.safetensors"]


@pytest.mark.parametrize("kills", [3, pytest.param(50, marks=[pytest.mark.long, pytest.mark.timeout(900)])])
def test_r15_killed_in_a_save_or_after_it_a_run_goes_on_from_a_whole_one(
    worker: Worker, server: ProtocolServer, kills: int
) -> None:
    """Each attempt saves once whole and is killed from its second save on: nothing whole is lost, nothing torn used."""
    count = 12 * kills + 12  # more than are reached
    options = {"steps": count, "seconds": 0.05 * count, "save_steps": 1}
    lost: list[Held] = []
    reached = 0
    for kill_number in range(kills):
        held = next_attempt(server, *lost, **options, save_seconds=0.4)
        second = worker.attempt(held.uuid) / f"work/output/checkpoint-{reached + 2}"
        server.wait(second.exists)
        time.sleep(0.55 * kill_number / (kills - 1))  # the save takes 0.4 s
        kill(server, worker, held)
        left = the_one_left(server, second.parent)
        state = json.loads((left / "trainer_state.json").read_text())  # written last
        assert reached < state["global_step"]
        reached = state["global_step"]
        lost.append(held)
    last = next_attempt(server, *lost, **options | {"seconds": 0.01 * count})
    server.wait(lambda: last.finish)
    assert last.started["resumed"] == {"epoch": kills, "step": reached}
    assert steps(last) == [*range(reached + 1, count + 1)]
    assert last.finish["reason"] is None, last.finish


def test_what_a_lost_attempt_left_stays_until_its_job_is_over(worker: Worker, server: ProtocolServer) -> None:
    held = server.add(spec(save_seconds=1.0))
    kill_while_it_saves(server, worker, held, step=4)
    worker.end(signal.SIGKILL)
    worker.start()
    next_one = next_attempt(server, held)
    server.wait(lambda: next_one.finish)
    left = worker.attempt(held.uuid)
    assert sorted(path.name for path in left.iterdir()) == ["kept", "work"]
    state = json.loads((left / "work/output/checkpoint-2/trainer_state.json").read_text())
    assert state["global_step"] == 2
    held.is_over = next_one.is_over = True
    server.wait(lambda: not left.exists())
    assert worker.attempt(next_one.uuid).exists()  # what the job produced


def test_a_run_without_a_whole_checkpoint_leaves_nothing_to_go_on_from(worker: Worker, server: ProtocolServer) -> None:
    held = server.add(spec(save_seconds=1.0))
    kill_while_it_saves(server, worker, held, step=2)
    next_one = next_attempt(server, held)
    server.wait(lambda: next_one.finish)
    assert next_one.started["resumed"] is None
    assert steps(next_one) == [1, 2, 3, 4, 5, 6, 7, 8]
