"""Who holds memory on a GPU, as NVML tells it: asked before anything is launched there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TypedDict

import psutil
import pynvml

from workers.gpus import list_gpus
from workers.problems import Ordered, Problem
from workers.processes import is_of_attempt

GIB = 1024**3
# What a desktop's own windows take; an engine could not even load its kernels in that.
WINDOWS_BYTES = GIB
RELEASE_SECONDS = 10.0  # a driver frees the memory of a process a little after its end
PAUSE_SECONDS = 0.5


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
    """Processes with memory on any of these GPUs; none where NVML does not answer."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        return [holder for uuid in uuids for holder in _holders(uuid)]
    finally:
        pynvml.nvmlShutdown()


def _holders(uuid: str) -> list[Holder]:
    try:
        handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
        computing = {row.pid: row.usedGpuMemory for row in pynvml.nvmlDeviceGetComputeRunningProcesses(handle)}
    except pynvml.NVMLError:
        return []
    drawing = {}
    try:
        for row in pynvml.nvmlDeviceGetGraphicsRunningProcesses(handle):
            if row.pid not in computing and (row.usedGpuMemory or 0) >= WINDOWS_BYTES:
                drawing[row.pid] = row.usedGpuMemory
    except pynvml.NVMLError:
        drawing = {}  # a GPU for computing only
    found = {**computing, **drawing}
    return [_describe(pid, used or 0, uuid) for pid, used in sorted(found.items())]


def _describe(pid: int, memory_bytes: int, gpu: str) -> Holder:
    try:
        process = psutil.Process(pid)
        name, user = process.name(), process.username()
    except (psutil.Error, KeyError):
        name, user = "not visible from here", "unknown"
    return {"pid": pid, "name": name, "user": user, "memory_bytes": memory_bytes, "gpu": gpu}


def wait_until_free(uuids: list[str], held_uuids: Iterable[str], must_end: Callable[[], bool]) -> None:
    """Returns when only attempts that this worker holds are on these GPUs.

    Raises Problem device_busy naming who else is, Ordered when told to end.
    """
    deadline = time.monotonic() + RELEASE_SECONDS
    ours = tuple(held_uuids)
    while others := [row for row in processes_on(uuids) if not is_of_attempt(row["pid"], ours)]:
        if must_end():
            raise Ordered
        if time.monotonic() >= deadline:
            raise Problem("device_busy", sentence(others[0]))
        time.sleep(PAUSE_SECONDS)


def sentence(holder: Holder) -> str:
    size = f"{holder['memory_bytes'] / GIB:.1f} GiB" if holder["memory_bytes"] else "memory"
    return (
        f"Another process holds {size} of {holder['gpu']}: pid {holder['pid']} ({holder['name']}), "
        f"user {holder['user']}. End it, or cordon this host."
    )
