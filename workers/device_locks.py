"""One worker a GPU, also where two run on one machine: an flock for each GPU, by its UUID.

Every attempt holds the locks of its GPUs, in the agent and in its shim, so that they last as long as
either lives. Attempts of one worker share a GPU, if the server says so; another worker is refused.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
from pathlib import Path

from workers.problems import Problem

SHARED_FOLDER = Path("/run/lock")
TRIES = 50
PAUSE_SECONDS = 0.02


def lock_gpus(uuids: list[str], state_dir: Path) -> list[int]:
    """Descriptors that hold the locks. Raises Problem device_busy naming the other worker's folder."""
    handles: list[int] = []
    try:
        for uuid in uuids:
            handles.append(_lock(uuid, state_dir))
    except BaseException:
        release(handles)
        raise
    return handles


def release(handles: list[int]) -> None:
    for handle in handles:
        with contextlib.suppress(OSError):
            os.close(handle)
    handles.clear()


def _lock(uuid: str, state_dir: Path) -> int:
    handle = _open(f"stackweb-gpu-{re.sub(r'[^A-Za-z0-9-]', '_', uuid)}.lock", state_dir)
    owner = str(state_dir).encode()
    for _ in range(TRIES):
        if _take(handle, fcntl.LOCK_EX):
            os.ftruncate(handle, 0)
            os.pwrite(handle, owner, 0)
        # Shared by the attempts of one worker; what is written says of which.
        if _take(handle, fcntl.LOCK_SH):
            found = os.pread(handle, 4096, 0)
            if found == owner:
                return handle
            os.close(handle)
            raise Problem(
                "device_busy",
                f"{uuid} is used by another Stackweb worker on this machine, with the state folder "
                f"{found.decode(errors='replace')}. Run one worker a machine.",
            )
        time.sleep(PAUSE_SECONDS)  # another is just writing its name
    os.close(handle)
    raise Problem("device_busy", f"The lock of {uuid} could not be had.")


def _take(handle: int, kind: int) -> bool:
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _open(name: str, state_dir: Path) -> int:
    """In the folder that every user of the machine shares, else in our own."""
    for folder in (SHARED_FOLDER, state_dir):
        for flags in (0, os.O_CREAT | os.O_EXCL):  # a sticky folder lets nobody create over another's file
            with contextlib.suppress(OSError):
                handle = os.open(folder / name, os.O_RDWR | os.O_NOFOLLOW | flags, 0o600)
                if flags:
                    os.fchmod(handle, 0o666)  # for workers of other users; it holds a folder's name only
                return handle
    raise Problem(
        "device_busy", f"No lock can be made for {name}: neither {SHARED_FOLDER} nor {state_dir} is writable."
    )
