"""Who holds memory on a GPU, as its driver tells it: asked before anything is launched there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, TypedDict

import psutil
import pynvml

from workers import amd_gpus
from workers.gpus import list_gpus
from workers.problems import Ordered, Problem
from workers.processes import is_of_attempt

GIB = 1024**3
# What a desktop's own windows take; an engine could not even load its kernels in that.
WINDOWS_BYTES = GIB
RELEASE_SECONDS = 10.0  # a driver frees the memory of a process a little after its end
PAUSE_SECONDS = 0.5


class Untold(Exception):
    """The driver does not say who is on a GPU, which may be anybody."""


class Holder(TypedDict):
    pid: int
    name: str
    user: str
    memory_bytes: int
    gpu: str


def uuids_of(indexes: Iterable[int]) -> list[str]:
    """Raises Problem device_busy for a GPU that has gone since the inventory."""
    known = {gpu["index"]: gpu["uuid"] for gpu in list_gpus()}
    indexes = list(indexes)
    if missing := [index for index in indexes if index not in known]:
        raise Problem("device_busy", f"GPU {missing[0]} is not there any more; this host shows {len(known)}.")
    return [known[index] for index in indexes]


def processes_on(uuids: Iterable[str]) -> list[Holder]:
    """Processes with memory on any of these GPUs. Raises Untold where a driver does not answer."""
    return [holder for uuid in uuids for holder in (_on_amd if amd_gpus.is_amd(uuid) else _on_nvidia)(uuid)]


def _on_nvidia(uuid: str) -> list[Holder]:
    try:
        pynvml.nvmlInit()
        try:
            handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
            computing = _listed(pynvml.nvmlDeviceGetComputeRunningProcesses, handle)
            drawing = _listed(pynvml.nvmlDeviceGetGraphicsRunningProcesses, handle)
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError as error:
        raise Untold(f"NVML does not say who is on {uuid}: {error}.") from None
    found = {pid: used for pid, used in drawing.items() if used >= WINDOWS_BYTES} | computing
    return [_describe(pid, used, uuid) for pid, used in sorted(found.items())]


def _listed(read: Callable[[Any], Iterable[Any]], handle: Any) -> dict[int, int]:
    """pid -> bytes; nobody where this driver never names any, as under WSL, or not to us, or draws nothing."""
    try:
        return {row.pid: row.usedGpuMemory or 0 for row in read(handle)}
    except pynvml.NVMLError as error:
        if error.value not in (pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_NO_PERMISSION):
            raise
        return {}


def _on_amd(uuid: str) -> list[Holder]:
    """AMD does not tell who computes from who draws, so that the bound for windows is everybody's."""
    found = amd_gpus.processes_on(uuid)
    if found is None:
        raise Untold(f"amdsmi does not say who is on {uuid}.")
    large = [row for row in found if row["memory_bytes"] >= WINDOWS_BYTES]
    return [_describe(row["pid"], row["memory_bytes"], uuid) for row in large]


def _describe(pid: int, memory_bytes: int, gpu: str) -> Holder:
    try:
        process = psutil.Process(pid)
        name, user = process.name(), process.username()
    except (psutil.Error, KeyError):
        name, user = "not visible from here", "unknown"
    return {"pid": pid, "name": name, "user": user, "memory_bytes": memory_bytes, "gpu": gpu}


def wait_until_free(uuids: list[str], held_uuids: Iterable[str], must_end: Callable[[], bool]) -> None:
    """Returns when only attempts that this worker holds are on these GPUs.

    Raises Problem device_busy naming who else is, or that nobody can tell; Ordered when told to end.
    """
    deadline = time.monotonic() + RELEASE_SECONDS
    ours = tuple(held_uuids)
    while trouble := _in_the_way(uuids, ours):
        if must_end():
            raise Ordered
        if time.monotonic() >= deadline:
            raise Problem("device_busy", trouble)
        time.sleep(PAUSE_SECONDS)


def _in_the_way(uuids: list[str], ours: tuple[str, ...]) -> str:
    """Why nothing may be launched there just now; empty when it may."""
    try:
        others = [row for row in processes_on(uuids) if not is_of_attempt(row["pid"], ours)]
    except Untold as untold:
        return f"{untold} Nothing is launched beside what cannot be seen. Look after its driver, or cordon this host."
    return sentence(others[0]) if others else ""


def sentence(holder: Holder) -> str:
    size = f"{holder['memory_bytes'] / GIB:.1f} GiB" if holder["memory_bytes"] else "memory"
    return (
        f"Another process holds {size} of {holder['gpu']}: pid {holder['pid']} ({holder['name']}), "
        f"user {holder['user']}. End it, or cordon this host."
    )
