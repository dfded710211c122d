"""What a shim leaves on disk for whoever comes after: small JSON files, whole or absent, and fsynced."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

NAME = "journal.json"
State = Literal["starting", "running", "stopping", "exited"]
FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass
class Journal:
    """One attempt as its shim sees it. Times are seconds since boot; ticks name a process for good."""

    boot_id: str
    epoch: int
    shim_pid: int
    shim_ticks: int
    engine_pid: int = 0
    engine_ticks: int = 0
    port: int = 0
    cgroup: str = ""  # the attempt's own, as a path; empty: this host lets us make none
    state: State = "starting"
    started_at: float = 0.0
    killing_at: float = 0.0  # since when everything gets KILL
    was_asked: bool = False  # to stop, by a signal or the file for it
    exit_code: int | None = None  # negative: killed by that signal
    error: str = ""  # why the engine could not be started at all
    disk_full: bool = False  # output was lost because the disk had no room
    memory_kills: int | None = None  # in the attempt's own cgroup; None where that does not count them


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in the file; None when there is none or it is not whole."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Replaces the file in one step, private and on disk before it returns.

    On a full disk an existing file is overwritten in place: its block is already ours.
    Raises OSError when even that fails.
    """
    data = json.dumps(content).encode()
    fresh = path.with_name(path.name + ".new")
    try:
        _write(fresh, data, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        fresh.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        if error.errno not in FULL or not path.exists():
            raise
        _write(path, data, os.O_WRONLY)


def _write(path: Path, data: bytes, flags: int) -> None:
    handle = os.open(path, flags, 0o600)
    try:
        rest = data
        while rest:
            rest = rest[os.write(handle, rest) :]
        os.ftruncate(handle, len(data))
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read(folder: Path) -> Journal | None:
    """The journal of the attempt in `folder`; None when no shim ever wrote one.

    Also one by an older or newer shim: what it does not say has its default, what is new is left out.
    """
    found = read_json(folder / NAME)
    if found is None:
        return None
    known: dict[str, Any] = {"boot_id": "", "epoch": 0, "shim_pid": 0, "shim_ticks": 0}
    known |= {field.name: found[field.name] for field in fields(Journal) if field.name in found}
    return Journal(**known)


def write(folder: Path, journal: Journal) -> None:
    write_json(folder / NAME, asdict(journal))
