"""Telemetry: measured at a steady pace, kept while the server is away, and never sent twice without need."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.workers.protocol_server import HOST_TOKEN, ProtocolServer
from workers import observer as module
from workers.backlog import Backlog
from workers.client import Refused, Server, Unreachable
from workers.config import WorkerConfig
from workers.observer import Observer


@pytest.fixture
def watching(server: ProtocolServer, tmp_path: Path) -> Iterator[Observer]:
    config = WorkerConfig(
        url=server.url, host_token=HOST_TOKEN, host_name="h1", queue="gpu.h1", state_dir=tmp_path,
        models_dir=tmp_path, env_root=tmp_path, use_cgroups=False,
    )  # fmt: skip
    watching = Observer(config, Server(config.url, HOST_TOKEN), sample_seconds=0.1)
    yield watching
    watching.stop()
    for thread in (watching.meter, watching.thread):
        if thread.ident:
            thread.join(10)
    watching.server.close()


def numbered(*numbers: int) -> list[dict[str, Any]]:
    return [{"number": number} for number in numbers]


def test_the_real_cpu_and_memory_are_seen_to_rise(server: ProtocolServer, watching: Observer) -> None:
    watching.start()
    server.wait(lambda: len(server.samples) >= 3)
    before = server.samples[-1]
    size, over = 256 * 1024**2, threading.Event()
    block = bytearray(size)
    block[::4096] = b"x" * len(block[::4096])  # touched, so that it is resident

    def burn() -> None:
        while not over.is_set():
            sum(range(10_000))

    worker = threading.Thread(target=burn)
    worker.start()
    try:
        heard = len(server.samples)
        server.wait(
            lambda: any(
                sample["ram_used_bytes"] > before["ram_used_bytes"] + size // 2
                and sample["cpu_percent"] >= 60 / (psutil.cpu_count() or 1)
                for sample in server.samples[heard:]
            )
        )
    finally:
        over.set()
        worker.join()
    assert server.inventories[0]["cpu"]["cores"] == psutil.cpu_count()
    assert len({sample["at"] for sample in server.samples}) == len(server.samples)
    del block


def test_what_waited_goes_first_and_in_batches(
    server: ProtocolServer, watching: Observer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH", 2)
    for sample in numbered(1, 2, 3):
        watching.backlog.add(sample)
    server.is_down = True
    with pytest.raises(Unreachable):
        watching.report()
    server.is_down = False
    watching.backlog.add({"number": 4})
    server.answers_to_lose["telemetry"] = 1
    with pytest.raises(Unreachable):
        watching.report()
    watching.report()
    # The answer to the first batch was lost: it comes again, as it was.
    assert server.samples == numbered(1, 2, 1, 2, 3, 4)
    assert not watching.backlog.oldest(1)


def test_a_refused_batch_holds_up_nothing(watching: Observer, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[Any] = []

    def telemetry(samples: list[dict[str, Any]]) -> None:
        heard.append(samples)
        if samples == numbered(1):
            raise Refused(422, "cpu_percent is not a number")

    monkeypatch.setattr(watching.server, "telemetry", telemetry)
    for number in (1, 2):
        watching.backlog.add({"number": number})
        with pytest.raises(Refused) if number == 1 else threading.Lock():
            watching.report()
    assert heard == [numbered(1), numbered(2)]


def test_the_backlog_is_bounded_and_keeps_the_newest() -> None:
    backlog = Backlog(kept=3)
    for sample in numbered(1, 2, 3):
        backlog.add(sample)
    sent = backlog.oldest(2)
    backlog.add({"number": 4})  # pushes out 1, which is just being sent
    backlog.forget(sent)
    assert backlog.oldest(10) == numbered(3, 4)
