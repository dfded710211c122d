"""NVML on a machine without a GPU: what it answers stands in a JSON file that a test may change meanwhile.

{"driver": "580.95", "cuda": 13000, "gpus": [{"uuid", "name", "memory_bytes",
                                              "computing": [[pid, bytes]], "drawing": [[pid, bytes]]}]}
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pynvml


def install(path: Path, put: Callable[[Any, str, Any], None] = setattr) -> None:
    """Replaces pynvml's functions for good, or with `put` such as monkeypatch.setattr."""

    def world() -> Any:
        return json.loads(path.read_text())

    def gpu_of(uuid: str) -> Any:
        found = next((gpu for gpu in world()["gpus"] if gpu["uuid"] == uuid), None)
        if found is None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return found

    def running(kind: str) -> Callable[[str], list[Any]]:
        return lambda uuid: [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in gpu_of(uuid).get(kind, [])]

    answers: dict[str, Any] = {
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlSystemGetDriverVersion": lambda: world()["driver"],
        "nvmlSystemGetCudaDriverVersion_v2": lambda: world()["cuda"],
        "nvmlDeviceGetCount": lambda: len(world()["gpus"]),
        "nvmlDeviceGetHandleByIndex": lambda index: world()["gpus"][index]["uuid"],
        "nvmlDeviceGetHandleByUUID": lambda uuid: gpu_of(uuid)["uuid"],
        "nvmlDeviceGetUUID": lambda uuid: uuid,
        "nvmlDeviceGetName": lambda uuid: gpu_of(uuid)["name"],
        "nvmlDeviceGetMemoryInfo": lambda uuid: SimpleNamespace(total=gpu_of(uuid)["memory_bytes"], used=0),
        "nvmlDeviceGetComputeRunningProcesses": running("computing"),
        "nvmlDeviceGetGraphicsRunningProcesses": running("drawing"),
    }
    for name, answer in answers.items():
        put(pynvml, name, answer)


def write(path: Path, *gpus: dict[str, Any], driver: str = "580.95.05") -> None:
    shape = {"name": "NVIDIA H100", "memory_bytes": 80 * 1024**3}
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps({"driver": driver, "cuda": 13000, "gpus": [shape | gpu for gpu in gpus]}))
    fresh.replace(path)
