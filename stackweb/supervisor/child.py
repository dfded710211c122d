"""One supervised process: start, read its output, notice its death, start again, stop."""

from __future__ import annotations

import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from stackweb.supervisor.journal import Journal, end_session
from stackweb.supervisor.terminal import TROUBLE, LineFilter, Terminal

LOG_BYTES = 16 * 1024 * 1024  # then the log becomes NAME.log.1
STEADY_SECONDS = 60  # a child that ran so long has recovered: its failures are forgotten
DELAYS_SECONDS = (1, 2, 4, 8, 16)


@dataclass
class Program:
    """What to run under which name. `prepare` runs before every start."""

    name: str
    argv: Callable[[], list[str]]
    environment: dict[str, str]
    cwd: Path
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 10
    last_signal: signal.Signals = signal.SIGKILL  # when `stop_seconds` have passed
    prepare: Callable[[], None] = lambda: None
    # Without it the rest is of use: it is tried for ever instead of stopping everything.
    is_optional: bool = False
    trouble: re.Pattern[str] = field(default=TROUBLE)


class Child:
    """A program and its present process."""

    def __init__(self, program: Program, journal: Journal, logs: Path, terminal: Terminal) -> None:
        self.program = program
        self.log = logs / f"{program.name}.log"
        self.failures = 0
        self._journal = journal
        self._terminal = terminal
        self._filter = LineFilter(program.trouble)
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._started_at = 0.0
        self._start_again_at: float | None = None
        self._is_quiet = False

    @property
    def name(self) -> str:
        return self.program.name

    @property
    def pid(self) -> int | None:
        return self._process.pid if self.is_running() and self._process else None

    @property
    def cause(self) -> str:
        """How it ended, and the line of its output that says why."""
        code = self._process.returncode if self._process else None
        if code is not None and code < 0:
            return f"killed by signal {-code}"
        why = self._filter.cause or self._filter.last_line
        return f"ended with code {code}" + (f": {why}" if why else "")

    @property
    def trouble(self) -> str:
        """The last warning or error it printed; empty when there was none."""
        return self._filter.cause

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        self.program.prepare()
        self._filter = LineFilter(self.program.trouble)
        self._start_again_at = None
        self._started_at = time.monotonic()
        self._process = subprocess.Popen(
            self._journal.announced(self.name, self.program.argv()),
            env=self.program.environment,
            cwd=self.program.cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches the supervisor alone, which stops all in order
        )
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        self._reader.start()

    def _read(self, pipe: IO[bytes]) -> None:
        """Copies the output to the log and shows what matters."""
        output = self.log.open("ab")
        for raw in pipe:
            output.write(raw)
            output.flush()
            if output.tell() > LOG_BYTES:
                output.close()
                self.log.replace(self.log.with_name(self.log.name + ".1"))
                output = self.log.open("ab")
            line = raw.decode(errors="replace").rstrip()
            if self._filter.shows(line) and not self._is_quiet:
                self._terminal.child(self.name, line)
        output.close()
        pipe.close()

    def look(self) -> bool:
        """Restarts it when it died. False when it keeps dying and is not to be tried again."""
        if self._process is None or self.is_running():
            return True
        if self._start_again_at is None:
            return self._note_death()
        if time.monotonic() >= self._start_again_at:
            self.start()
            self._terminal.child(self.name, "started again")
        return True

    def _note_death(self) -> bool:
        if self._process:
            end_session(self._process.pid)
        if self._reader:
            self._reader.join(1)
        if time.monotonic() - self._started_at > STEADY_SECONDS:
            self.failures = 0
        self.failures += 1
        gives_up = self.failures > len(DELAYS_SECONDS)
        if gives_up and not self.program.is_optional:
            return False
        delay = DELAYS_SECONDS[self.failures - 1] if not gives_up else 60
        self._start_again_at = time.monotonic() + delay
        self._terminal.child(self.name, f"{self.cause}. Starts again in {delay} s; its log is {self.log}")
        return True

    def ask_to_stop(self) -> None:
        self._is_quiet = True
        self._start_again_at = float("inf")
        if self._process and self.is_running():
            self._process.send_signal(self.program.stop_signal)

    def stop(self, is_hurried: Callable[[], bool]) -> None:
        """Asks it to stop, waits, then insists; returns when it is gone. Hurried means 3 s each."""
        self.ask_to_stop()
        insists = [self.program.last_signal, signal.SIGKILL]
        since = time.monotonic()
        while self._process and self.is_running() and insists:
            allowed = min(3.0, self.program.stop_seconds) if is_hurried() else self.program.stop_seconds
            if time.monotonic() - since > allowed:
                self._process.send_signal(insists.pop(0))
                since = time.monotonic()
            time.sleep(0.05)
        if self._process:
            self._process.wait()
            end_session(self._process.pid)
        if self._reader:
            self._reader.join(2)
        self._journal.forget(self.name)
