"""GPUs as far as a machine without one can tell; `make test-gpu` reads real ones."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from workers.gpus import list_gpus, sample_gpus


def _raise(error: int) -> Any:
    def read(*_: Any) -> Any:
        raise pynvml.NVMLError(error)

    return read


def test_no_driver_means_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pynvml, "nvmlInit", _raise(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND))
    assert (list_gpus(), sample_gpus()) == ([], [])


def test_a_missing_sensor_does_not_hide_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    answers: dict[str, Any] = {
        "nvmlInit": lambda: calls.append("init"),
        "nvmlShutdown": lambda: calls.append("shutdown"),
        "nvmlDeviceGetCount": lambda: 1,
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetUUID": lambda handle: b"GPU-1",
        "nvmlDeviceGetName": lambda handle: "H100",
        "nvmlSystemGetDriverVersion": lambda: "580.1",
        "nvmlSystemGetCudaDriverVersion_v2": lambda: 13010,
        "nvmlDeviceGetMemoryInfo": lambda handle: SimpleNamespace(total=80_000, used=100),
        "nvmlDeviceGetUtilizationRates": lambda handle: SimpleNamespace(gpu=7),
        "nvmlDeviceGetTemperature": lambda handle, sensor: 40,
        "nvmlDeviceGetPowerUsage": _raise(pynvml.NVML_ERROR_NOT_SUPPORTED),
    }
    for name, answer in answers.items():
        monkeypatch.setattr(pynvml, name, answer)
    gpu = {"index": 0, "uuid": "GPU-1", "name": "H100", "memory_bytes": 80_000, "driver": "580.1", "cuda": "13.1"}
    assert list_gpus() == [gpu]
    sample = {"uuid": "GPU-1", "util_percent": 7, "memory_used_bytes": 100, "temperature_c": 40, "power_w": None}
    assert sample_gpus() == [sample]
    assert calls == ["init", "shutdown"] * 2
