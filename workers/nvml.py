"""NVML, begun once and again after the driver went away; each sensor is optional."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any

import pynvml

_lock = threading.RLock()  # NVML itself may be asked from several threads; beginning it may not
_state = {"has_begun": False}
_GPU_GONE = (pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_NOT_FOUND, pynvml.NVML_ERROR_INVALID_ARGUMENT)


def handles() -> list[tuple[int, Any]]:
    """(index, handle) of every GPU that answers; empty without a driver or a GPU."""
    with _lock:
        for _ in range(2):  # the second time after the driver was loaded anew
            if not _begin():
                return []
            try:
                return _enumerate()
            except pynvml.NVMLError:
                end()
        return []


def _begin() -> bool:
    if not _state["has_begun"]:
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError:
            return False
        _state["has_begun"] = True
    return True


def end() -> None:
    """The next question begins NVML anew."""
    with _lock:
        _state["has_begun"] = False
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _enumerate() -> list[tuple[int, Any]]:
    """Raises NVMLError when the driver is gone; one GPU that fell off the bus hides no other."""
    found = []
    for index in range(pynvml.nvmlDeviceGetCount()):
        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            pynvml.nvmlDeviceGetUUID(handle)  # a lost GPU may still have a handle
        except pynvml.NVMLError as error:
            if error.value not in _GPU_GONE:
                raise
        else:
            found.append((index, handle))
    return found


def slices(handle: Any) -> list[Any]:
    """Handles of a GPU's MIG slices; empty where MIG is off."""
    if not is_split(handle):
        return []
    places = range(sensor(pynvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0)
    found = [sensor(pynvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, place) for place in places]
    return [each for each in found if each is not None]


def is_split(handle: Any) -> bool:
    """MIG is on, so that work runs on its slices only."""
    mode = sensor(pynvml.nvmlDeviceGetMigMode, handle)
    return mode is not None and mode[0] == pynvml.NVML_DEVICE_MIG_ENABLE


def sensor(read: Callable[..., Any], *arguments: Any) -> Any:
    """None where this GPU or this driver lacks it; the others still count."""
    try:
        return read(*arguments)
    except pynvml.NVMLError:
        return None


def text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
