"""A cgroup for each attempt, where this machine lets us make one: then nothing that it started can hide.

    python -m workers.cgroups      prints cgroup or process_group, after trying

Version 2 is preferred, in the subtree that the calling process itself is in; version 1 serves by its
freezer. Standard library only: the shim imports this.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Literal

Isolation = Literal["cgroup", "process_group"]
PREFIX = "stackweb-"
KILL = "cgroup.kill"
PAUSE_SECONDS = 0.02
END_SECONDS = 30.0
PROBE_SECONDS = 5.0


def name_of(uuid: str) -> str:
    return PREFIX + uuid


def own_folders() -> dict[str, Path]:
    """Where this process is: "" for version 2, else the controller of version 1, such as freezer."""
    try:
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
        own = dict(line.split(":", 2)[1:] for line in Path("/proc/self/cgroup").read_text().splitlines())
    except OSError:
        return {}
    found = {}
    for line in mounts:
        fields, _, tail = line.partition(" - ")
        root, mount = fields.split()[3:5]
        kind, _, options = tail.split(maxsplit=2)
        if kind not in ("cgroup", "cgroup2"):
            continue
        for controllers, path in own.items():
            if controllers == "" if kind == "cgroup2" else set(controllers.split(",")) <= set(options.split(",")):
                found[controllers] = Path(mount) / _below(path, root)
    return found


def _below(path: str, root: str) -> str:
    """A mount may show only a part of the tree, from `root` on."""
    return path.removeprefix(root if root != "/" else "").strip("/")


def make(name: str) -> Path | None:
    """A group of that name; None where this machine lets us make none."""
    folders = own_folders()
    for controllers in ("", "freezer"):
        parent = folders.get(controllers)
        if parent is None:
            continue
        with contextlib.suppress(OSError):
            path = parent / name
            path.mkdir(exist_ok=True)
            if os.access(path / "cgroup.procs", os.W_OK):
                return path
            path.rmdir()
    return None


def find(name: str) -> Path | None:
    """The group of that name, as far as it was made from where this process is."""
    folders = own_folders()
    places = (folders[controllers] / name for controllers in ("", "freezer") if controllers in folders)
    return next((path for path in places if path.is_dir()), None)


def join(path: Path, pid: int = 0) -> None:
    """Moves a process into the group, or the caller. Raises OSError where that is not allowed."""
    (path / "cgroup.procs").write_text(str(pid))


def pids(path: Path) -> set[int]:
    """Of the group and the groups below it; zombies may count in version 1."""
    found: set[int] = set()
    for procs in path.rglob("cgroup.procs"):
        with contextlib.suppress(OSError):
            found |= {int(line) for line in procs.read_text().split()}
    return found


def is_populated(path: Path) -> bool:
    """Whether anything in it is alive; a group that is gone is empty."""
    try:
        return "populated 1" in (path / "cgroup.events").read_text()
    except FileNotFoundError:  # version 1, or gone
        return bool(pids(path))
    except OSError:  # removed while it was read
        return path.exists()


def kill(path: Path) -> None:
    """Kills what is in it: in one step where the kernel can, else while none of it may run."""
    with contextlib.suppress(OSError):
        (path / KILL).write_text("1")
        return
    _freeze(path, True)
    for pid in pids(path):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    _freeze(path, False)


def _freeze(path: Path, is_frozen: bool) -> None:
    """Version 2 and version 1 name it differently; where neither works the kill loop still does."""
    for name, states in (("cgroup.freeze", ("0", "1")), ("freezer.state", ("THAWED", "FROZEN"))):
        with contextlib.suppress(OSError):
            handle = os.open(path / name, os.O_WRONLY)
            try:
                os.write(handle, states[is_frozen].encode())
            finally:
                os.close(handle)


def end(path: Path, timeout_seconds: float = END_SECONDS) -> bool:
    """Kills until it is empty, then removes it; False when something in it cannot be killed in time."""
    deadline = time.monotonic() + timeout_seconds
    while is_populated(path):
        kill(path)
        if time.monotonic() > deadline:
            return False
        time.sleep(PAUSE_SECONDS)
    remove(path)
    return True


def remove(path: Path) -> None:
    """Groups below it first. One that the kernel still holds for a moment is left, empty."""
    folders = sorted((found for found in path.rglob("*") if found.is_dir()), reverse=True)
    for folder in [*folders, path]:
        with contextlib.suppress(OSError):
            folder.rmdir()


def remove_named(path: Path, uuid: str) -> None:
    """An attempt's own group, when it is empty; a path of another name is left alone."""
    if path.name == name_of(uuid):
        remove(path)


def memory_kills(path: Path | None) -> int | None:
    """How often the kernel killed for memory in exactly this group; None where it does not count that."""
    if path is None:
        return None
    with contextlib.suppress(OSError):
        for line in (path / "memory.events").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return None


def try_isolation() -> Isolation:
    """Finds out by doing it all once: make, move a process in, kill it, remove."""
    path = make(f"{PREFIX}probe-{os.getpid()}-{time.monotonic_ns()}")
    if path is None:
        return "process_group"
    sleeper = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        join(path, sleeper.pid)
        kill(path)
        sleeper.wait(PROBE_SECONDS)
        is_whole = end(path, PROBE_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        is_whole = False
    finally:
        sleeper.kill()
        sleeper.wait()
        remove(path)
    return "cgroup" if is_whole else "process_group"


if __name__ == "__main__":
    sys.stdout.write(try_isolation() + "\n")
