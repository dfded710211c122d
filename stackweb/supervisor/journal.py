"""Which processes we started, on disk, so that the next start finds what a kill -9 left behind.

A process is its pid, its start time in clock ticks and the boot it belongs to: a number alone may mean
another process by now. The entry is written by the process itself before it becomes the program, so
there is no moment in which a running child is unknown.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# `$0` is the journal file, the arguments are the program. exec keeps pid and start time.
_WRITE_THEN_EXEC = f'echo $$ $(cut -d" " -f22 /proc/$$/stat) $(cat {BOOT_ID}) > "$0" || exit 1; exec "$@"'


@dataclass(frozen=True)
class Entry:
    """One process from the journal."""

    name: str
    pid: int
    start_ticks: int
    boot_id: str

    def is_alive(self) -> bool:
        """True when that very process still runs (a zombie does not)."""
        if self.boot_id != BOOT_ID.read_text().strip():
            return False
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return False
        return fields[0] not in {"Z", "X"} and int(fields[19]) == self.start_ticks

    def stop(self, how: signal.Signals, seconds: float) -> None:
        """Sends the signal, then KILL after `seconds`; returns when it is gone.

        Raises TimeoutError when even KILL does not end it within 10 s.
        """
        if not self._ended_by(how, seconds) and not self._ended_by(signal.SIGKILL, 10):
            raise TimeoutError(f"{self.name} (process {self.pid}) of an earlier start does not end")
        end_session(self.pid)

    def _ended_by(self, how: signal.Signals, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        if self.is_alive():
            os.kill(self.pid, how)
        while self.is_alive():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True


class Journal:
    """One small file for each child in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def announced(self, name: str, argv: list[str]) -> list[str]:
        """The command line that journals itself as `name` and then becomes `argv`."""
        return ["sh", "-c", _WRITE_THEN_EXEC, str(self._path(name)), *argv]

    def forget(self, name: str) -> None:
        self._path(name).unlink(missing_ok=True)

    def left_over(self) -> list[Entry]:
        """The processes of an earlier start that still run."""
        found = []
        for path in sorted(self.folder.glob("*.pid")):
            words = path.read_text().split()
            if len(words) == 3:
                entry = Entry(path.stem, int(words[0]), int(words[1]), words[2])
                if entry.is_alive():
                    found.append(entry)
        return found

    def end_remains(self) -> None:
        """Ends what stayed behind of processes that are dead themselves, such as a killed Celery's beat."""
        for path in self.folder.glob("*.pid"):
            words = path.read_text().split()
            if len(words) == 3 and words[2] == BOOT_ID.read_text().strip():
                end_session(int(words[0]))

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.pid"


def end_session(leader: int) -> None:
    """Kills the processes that a dead session leader left behind.

    A number is not given away while its session has members, so they are its own. What made a session
    of its own, as shims and engines do, goes on.
    """
    if Path(f"/proc/{leader}").exists():
        return
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(ProcessLookupError, PermissionError):
            if os.getsid(int(folder.name)) == leader:
                os.kill(int(folder.name), signal.SIGKILL)
