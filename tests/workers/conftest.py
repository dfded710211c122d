"""A worker as a real process, and a protocol server inside the test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.workers import script_engine
from tests.workers.protocol_server import HOST_TOKEN, ProtocolServer
from workers.config import WorkerConfig

ROOT = Path(__file__).parents[2]


class Worker:
    """The worker process of one test; `start` again after `kill` is a restart."""

    def __init__(self, folder: Path, url: str, **more: Any) -> None:
        self.state = folder / "state"
        self.state.mkdir(exist_ok=True)
        self.path = folder / "worker.json"
        config = WorkerConfig(
            url=url, host_token=HOST_TOKEN, host_name="h1", queue="gpu.h1", state_dir=self.state,
            models_dir=folder / "models", env_root=folder / "environments",
            **{"sweep_seconds": 0.2, "heartbeat_seconds": 0.2, **more},
        )  # fmt: skip
        config.save(self.path)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, script_engine.__file__, str(self.path), *options],
            env={**os.environ, "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}", "SECRET_OF_HOST": "1"},
        )

    def end(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(20)

    def attempt(self, uuid: str) -> Path:
        return self.state / "attempts" / uuid


@pytest.fixture
def server() -> Iterator[ProtocolServer]:
    server = ProtocolServer()
    yield server
    server.close()
    assert server.wrong_calls == []


@pytest.fixture
def worker(tmp_path: Path, server: ProtocolServer) -> Iterator[Worker]:
    worker = Worker(tmp_path, server.url)
    worker.start()
    yield worker
    _end_all(worker)


@pytest.fixture
def make_worker(tmp_path: Path, server: ProtocolServer) -> Iterator[Callable[..., Worker]]:
    made: list[Worker] = []

    def make(**more: Any) -> Worker:
        made.append(Worker(tmp_path, server.url, **more))
        return made[-1]

    yield make
    for worker in made:
        _end_all(worker)


def _end_all(worker: Worker) -> None:
    """Ends the worker and every shim of its state folder, whatever the test did."""
    if worker.process is not None and worker.process.poll() is None:
        worker.process.terminate()
        worker.process.wait(20)
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or []
        if "workers.shim" in command and command[-1].startswith(str(worker.state)):
            process.terminate()
            process.wait(20)


def script(code: str, kind: str = "train", inputs: list[dict[str, Any]] | None = None, **options: Any) -> Any:
    """A spec for the script engine."""
    options = {"outputs": [], **options, "code": code}
    return {"kind": kind, "engine": "script", "options": options, "inputs": inputs or []}


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
