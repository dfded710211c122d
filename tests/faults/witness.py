"""Who uses a fake GPU, judged by the kernel: one flock per (host, GPU), inherited by everything an engine starts.

The database has no say here. Files in the witness folder, all appended to and fsynced:

    HOST-gpuN.lock   held by every process of the engine that was given the GPU; its text is the attempt
    double_use       one line for each time a GPU was given while another process still held it
    starts, effects  one line for each engine that started, and for each that finished its work
    ENGINE.json      pids of one attempt's engine, for the rig to kill
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from datetime import UTC, datetime
from pathlib import Path


def hold_gpu(folder: Path, host: str, index: int, attempt: str) -> int:
    """The locked descriptor, which children inherit. Where another holds the GPU, that is written down."""
    handle = os.open(folder / f"{host}-gpu{index}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    os.set_inheritable(handle, True)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(handle, 200).decode()
        who = ", ".join(users_of(folder / f"{host}-gpu{index}.lock"))
        said = f"{datetime.now(UTC):%H:%M:%S} {host} gpu{index}: {attempt} was given it while {holder} held it ({who})"
        append(folder / "double_use", said)
        return handle
    os.ftruncate(handle, 0)
    os.pwrite(handle, attempt.encode(), 0)
    return handle


def users_of(path: Path) -> list[str]:
    """Each other process that has the lock open, with its parent, state and command."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int(entry.name) != os.getpid() and path in {link.readlink() for link in (entry / "fd").iterdir()}:
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                found.append(f"{entry.name} {state} below {parent}: {command[:80]}")
    return found


def append(path: Path, line: str) -> None:
    """One whole line, on disk before it returns."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(handle, f"{line}\n".encode())
        os.fsync(handle)
    finally:
        os.close(handle)


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def held_locks(folder: Path) -> list[str]:
    """Names of the GPUs that some process still holds."""
    held = []
    for path in sorted(folder.glob("*.lock")):
        with path.open("rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                held.append(path.stem)
    return held


def write_pids(folder: Path, attempt: str, **facts: object) -> None:
    fresh = folder / f"{attempt}.new"
    fresh.write_text(json.dumps(facts))
    fresh.replace(folder / f"{attempt}.json")


def read_pids(folder: Path, attempt: str) -> dict[str, int]:
    """api, core and daemon of an engine; empty when it never started."""
    path = folder / f"{attempt}.json"
    return json.loads(path.read_text()) if path.exists() else {}
