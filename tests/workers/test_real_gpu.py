"""`make test-gpu`: a real NVIDIA GPU is read, a foreign process on it is found, its telemetry streams, and what
NVML answered is recorded in build/nvml_trace.jsonl. No GPU was at hand so far: not verified on hardware.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.workers import hold_gpu_memory
from tests.workers.nvml_replay import Replay
from tests.workers.protocol_server import HOST_TOKEN, ProtocolServer
from workers import nvml
from workers.client import Server
from workers.config import WorkerConfig
from workers.foreign import processes_on
from workers.gpus import list_gpus, sample_gpus
from workers.observer import Observer
from workers.record_nvml import record

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(shutil.which("nvidia-smi") is None, reason="no NVIDIA GPU here (nvidia-smi is missing)"),
]
MIB, GIB = 1024**2, 1024**3
TRACE = Path(__file__).parents[2] / "build" / "nvml_trace.jsonl"


@pytest.fixture
def gpus() -> list[dict[str, Any]]:
    found = list_gpus()
    assert found, "nvidia-smi is there, yet NVML shows no GPU"
    return found


@pytest.fixture
def holder() -> Iterator[subprocess.Popen[str]]:
    """A process of somebody else with 512 MiB of GPU 0."""
    command = [sys.executable, hold_gpu_memory.__file__, str(512 * MIB)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n", "CUDA could not be used"
        yield process


def test_what_nvml_says_is_sane(gpus: list[dict[str, Any]]) -> None:
    assert [gpu["index"] for gpu in gpus] == list(range(len(gpus)))
    assert len({gpu["uuid"] for gpu in gpus}) == len(gpus)
    for gpu in gpus:
        assert gpu["uuid"].startswith(("GPU-", "MIG-"))
        assert gpu["name"]
        assert gpu["driver"].split(".")[0].isdigit()
        assert gpu["cuda"].split(".")[0].isdigit()
        assert GIB <= gpu["memory_bytes"] < 1024 * GIB
    loads = {load["uuid"]: load for load in sample_gpus()}
    assert set(loads) == {gpu["uuid"] for gpu in gpus}
    for gpu in gpus:
        load = loads[gpu["uuid"]]
        assert 0 <= load["memory_used_bytes"] <= gpu["memory_bytes"]
        assert load["util_percent"] is None or 0 <= load["util_percent"] <= 100
        assert load["temperature_c"] is None or 10 <= load["temperature_c"] <= 110
        assert load["power_w"] is None or 1 <= load["power_w"] <= 2000


def test_a_foreign_process_is_found(gpus: list[dict[str, Any]], request: pytest.FixtureRequest) -> None:
    uuids = [gpu["uuid"] for gpu in gpus]
    before, used = {row["pid"] for row in processes_on(uuids)}, _used(uuids)
    process: subprocess.Popen[str] = request.getfixturevalue("holder")
    assert _used(uuids) >= used + 512 * MIB
    fresh = [row for row in processes_on(uuids) if row["pid"] not in before]
    assert fresh, "NVML names no new process"
    # In a container NVML may name the pid of the machine outside.
    assert any(row["pid"] == process.pid or row["memory_bytes"] >= 512 * MIB for row in fresh)


def _used(uuids: list[str]) -> int:
    return sum(load["memory_used_bytes"] for load in sample_gpus() if load["uuid"] in uuids)


def test_telemetry_streams_for_20_seconds(server: ProtocolServer, gpus: list[dict[str, Any]], tmp_path: Path) -> None:
    config = WorkerConfig(
        url=server.url, host_token=HOST_TOKEN, host_name="h1", queue="gpu.h1", state_dir=tmp_path,
        models_dir=tmp_path, env_root=tmp_path, use_cgroups=False,
    )  # fmt: skip
    observer = Observer(config, Server(config.url, HOST_TOKEN))
    observer.start()
    try:
        server.wait(lambda: len(server.samples) >= 5, timeout_seconds=40)
    finally:
        observer.stop()
        observer.meter.join(20)
        observer.thread.join(20)
        observer.server.close()
    assert {gpu["uuid"] for gpu in server.inventories[0]["gpus"]} == {gpu["uuid"] for gpu in gpus}
    for sample in server.samples:
        assert {load["uuid"] for load in sample["gpus"]} == {gpu["uuid"] for gpu in gpus}


def test_the_recording_replays(gpus: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    TRACE.parent.mkdir(exist_ok=True)
    assert record(TRACE, source=f"recorded on {gpus[0]['name']}, driver {gpus[0]['driver']}", seconds=10) == len(gpus)
    nvml.end()
    replay = Replay(TRACE)
    replay.install(monkeypatch.setattr)
    replay.go_to(10)
    assert list_gpus() == gpus
    nvml.end()
