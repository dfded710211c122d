"""Facts about processes from /proc: who is who across pid reuse, who belongs to an attempt, and its end."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Iterable
from pathlib import Path

from workers import cgroups

PROC = Path("/proc")
END_SECONDS = 30.0
# In the middle of an exec a process shows no environment, so that one empty look says little.
EMPTY_LOOKS, LOOK_SECONDS = 3, 0.02
MARKER = "STACKWEB_ATTEMPT"  # every engine carries it, and its children inherit it


def boot_id() -> str:
    """The kernel's name for this boot; a pid means nothing across two of them."""
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


def boot_clock() -> float:
    """Seconds since boot, sleep included; the same for every process and blind to clock changes."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name, from `state` on; empty when there is no such process."""
    try:
        return (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def start_ticks(pid: int) -> int:
    """When the process started, in clock ticks since boot; 0 when it is gone or a zombie."""
    fields = _stat(pid)
    return int(fields[19]) if fields and fields[0] not in "ZX" else 0


def is_same(pid: int, ticks: int) -> bool:
    """Whether `pid` still is the process that started at `ticks`."""
    return pid > 0 and ticks > 0 and start_ticks(pid) == ticks


class Held:
    """One process for good, by a pidfd where the kernel has them, else by pid and start ticks."""

    def __init__(self, pid: int, ticks: int) -> None:
        self.pid = pid
        self.ticks = ticks
        self.handle = -1
        with contextlib.suppress(OSError, AttributeError):
            if pid > 0:
                self.handle = os.pidfd_open(pid)
        # Asked after the handle was taken: if the pid is still that process now, the handle is too.
        if not is_same(pid, ticks):
            self.close()
            self.pid = 0

    def is_alive(self) -> bool:
        """False for a zombie too."""
        if self.handle < 0:
            return is_same(self.pid, self.ticks)
        poll = select.poll()
        poll.register(self.handle, select.POLLIN)
        return not poll.poll(0)

    def send(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            if self.handle >= 0:
                signal.pidfd_send_signal(self.handle, number)
            elif self.is_alive():
                os.kill(self.pid, number)

    def close(self) -> None:
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1
            self.pid = 0


def _all() -> dict[int, tuple[int, int]]:
    """pid -> (parent, session) of every live process."""
    found = {}
    for entry in os.listdir(PROC):
        if entry.isdigit() and (fields := _stat(int(entry))) and fields[0] not in "ZX":
            found[int(entry)] = (int(fields[1]), int(fields[3]))
    return found


def descendants(root: int, table: dict[int, tuple[int, int]] | None = None) -> set[int]:
    """Every live process below `root`, without `root`."""
    table = table if table is not None else _all()
    children: dict[int, list[int]] = {}
    for pid, (parent, _) in table.items():
        children.setdefault(parent, []).append(pid)
    found: set[int] = set()
    waiting = [root]
    while waiting:
        for pid in children.get(waiting.pop(), []):
            if pid not in found:
                found.add(pid)
                waiting.append(pid)
    return found


def memory_bytes(root: int) -> int:
    """RAM of everything below `root`; pages that processes share are counted once between them (PSS)."""
    return sum(_proportional_bytes(pid) for pid in descendants(root))


def _proportional_bytes(pid: int) -> int:
    try:
        text = (PROC / str(pid) / "smaps_rollup").read_text()
    except OSError:
        return 0
    line = next((line for line in text.splitlines() if line.startswith("Pss:")), "Pss: 0 kB")
    return int(line.split()[1]) * 1024


def send(pid: int, number: int) -> None:
    """Signals one process; one that is already gone is fine."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _is_marked(pid: int, marker: bytes) -> bool:
    try:
        return marker in (PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return False


def is_of_attempt(pid: int, uuids: Iterable[str]) -> bool:
    """Whether the process carries the mark of one of these attempts."""
    return any(_is_marked(pid, f"{MARKER}={uuid}".encode()) for uuid in uuids)


def of_attempt(uuid: str, engine_pid: int = 0, engine_ticks: int = 0) -> set[int]:
    """Live processes of an attempt whose shim is gone.

    Found by the inherited marker, by the engine's session, and by descent from either: a renamed
    process hides its environment, a daemon leaves the session, but hardly one does both.
    """
    table = _all()
    marker = f"{MARKER}={uuid}".encode()
    found = {pid for pid in table if _is_marked(pid, marker)}
    # A session id belongs to the engine as long as no other process has taken its pid.
    leader_is_other = engine_pid in table and start_ticks(engine_pid) != engine_ticks
    if engine_pid and not leader_is_other:
        found |= {pid for pid, (_, session) in table.items() if session == engine_pid}
    for pid in tuple(found):
        found |= descendants(pid, table)
    return found - {os.getpid()}


def end_attempt(
    uuid: str, engine_pid: int, engine_ticks: int, cgroup: str = "", timeout_seconds: float = END_SECONDS
) -> bool:
    """Kills what an attempt left behind; True once nothing of it is alive.

    `cgroup` is what its journal says; only a group that carries the attempt's name is touched.
    """
    deadline = time.monotonic() + timeout_seconds
    name = cgroups.name_of(uuid)
    group = Path(cgroup) if Path(cgroup).name == name else cgroups.find(name)
    empty_looks = 0
    while True:
        left = of_attempt(uuid, engine_pid, engine_ticks)
        for pid in left:
            send(pid, signal.SIGKILL)
        is_empty = not left and (group is None or cgroups.end(group, 0))
        empty_looks = empty_looks + 1 if is_empty else 0
        if empty_looks == EMPTY_LOOKS:
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK_SECONDS)


def memory_kills() -> int:
    """How often the kernel has killed a process for memory since boot; 0 where it does not say."""
    with contextlib.suppress(OSError):
        for line in (PROC / "vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0
