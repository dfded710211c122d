"""GPUs as NVML sees them. A machine without the library or the driver simply has none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pynvml


@contextmanager
def _devices() -> Iterator[list[Any]]:
    """NVML's handles, with NVML shut down again after."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield []
        return
    try:
        yield [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
    finally:
        pynvml.nvmlShutdown()


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _or_none(read: Callable[[], Any]) -> Any:
    """Some GPUs lack a sensor; the others still count."""
    try:
        return read()
    except pynvml.NVMLError:
        return None


def list_gpus() -> list[dict[str, Any]]:
    """`{index, uuid, name, memory_bytes, driver, cuda}` of each GPU."""
    with _devices() as handles:
        if not handles:
            return []
        driver = _text(pynvml.nvmlSystemGetDriverVersion())
        cuda = pynvml.nvmlSystemGetCudaDriverVersion_v2()
        return [
            {
                "index": index,
                "uuid": _text(pynvml.nvmlDeviceGetUUID(handle)),
                "name": _text(pynvml.nvmlDeviceGetName(handle)),
                "memory_bytes": int(pynvml.nvmlDeviceGetMemoryInfo(handle).total),
                "driver": driver,
                "cuda": f"{cuda // 1000}.{cuda % 1000 // 10}",
            }
            for index, handle in enumerate(handles)
        ]


def sample_gpus() -> list[dict[str, Any]]:
    """`{uuid, util_percent, memory_used_bytes, temperature_c, power_w}`; None where a sensor is missing."""
    with _devices() as handles:
        return [_sample(handle) for handle in handles]


def _sample(handle: Any) -> dict[str, Any]:
    power_mw = _or_none(lambda: pynvml.nvmlDeviceGetPowerUsage(handle))
    return {
        "uuid": _text(pynvml.nvmlDeviceGetUUID(handle)),
        "util_percent": _or_none(lambda: pynvml.nvmlDeviceGetUtilizationRates(handle).gpu),
        "memory_used_bytes": _or_none(lambda: int(pynvml.nvmlDeviceGetMemoryInfo(handle).used)),
        "temperature_c": _or_none(lambda: pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU)),
        "power_w": None if power_mw is None else power_mw / 1000,
    }
