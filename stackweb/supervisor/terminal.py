"""What the person at the terminal sees: steps with times, and the lines of children that matter."""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

WIDTH = 12  # of the name column
REPEAT_SECONDS = 60.0
TROUBLE = re.compile(r"\b(WARNING|ERROR|CRITICAL|FATAL|PANIC)\b")
# Postgres calls every refused statement an error; the part that sent it reports what matters. It is
# fatal to a session, to nothing else, that it comes too early.
POSTGRES_TROUBLE = re.compile(r"\b(FATAL|PANIC)\b(?!:\s+the database system is)")
# Valkey warns of kernel settings at every start; they do not matter for queues of this size.
VALKEY_TROUBLE = re.compile(r"(?i)\b(fatal|error|failed|can't)\b")


class Terminal:
    """Prints whole lines from several threads. A terminal that went away is not an error."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._step_is_open = False

    def line(self, text: str = "") -> None:
        with self._lock:
            self._write(("\n" if self._step_is_open else "") + text + "\n")
            self._step_is_open = False

    def child(self, name: str, text: str) -> None:
        self.line(f"{name:<{WIDTH}}| {text}")

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Prints what begins, and how long it took when it succeeded."""
        started = time.monotonic()
        with self._lock:
            self._write(("\n" if self._step_is_open else "") + f"{what:.<44} ")
            self._step_is_open = True
        yield
        seconds = f"{time.monotonic() - started:.1f} s"
        with self._lock:
            self._write(f"{seconds}\n" if self._step_is_open else f"{what}: {seconds}\n")
            self._step_is_open = False

    @staticmethod
    def _write(text: str) -> None:
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except OSError:
            pass  # the terminal was closed; stopping must go on


class LineFilter:
    """Chooses the lines worth showing, and remembers the last one that names a cause."""

    def __init__(self, trouble: re.Pattern[str] = TROUBLE, clock: Callable[[], float] = time.monotonic) -> None:
        self._trouble = trouble
        self._clock = clock
        self._in_traceback = False
        self._shown_at: dict[str, float] = {}
        self.cause = ""
        self.last_line = ""

    def shows(self, line: str) -> bool:
        """True for warnings, errors and the last line of a traceback, each wording once a minute."""
        self.last_line = line.strip() or self.last_line
        if line.startswith("Traceback (most recent call last)"):
            self._in_traceback = True
            return False
        ends_traceback = self._in_traceback and bool(line.strip()) and not line.startswith((" ", "\t"))
        if ends_traceback:
            self._in_traceback = False
        if not ends_traceback and not self._trouble.search(line):
            return False
        self.cause = line.strip()
        return not self._was_shown_lately(line)

    def _was_shown_lately(self, line: str) -> bool:
        """Numbers do not count: a time, a pid or an attempt is not another trouble."""
        wording = re.sub(r"[0-9a-f-]*\d[0-9a-f-]*", "#", line)
        now = self._clock()
        self._shown_at = {text: at for text, at in self._shown_at.items() if now - at < REPEAT_SECONDS}
        if wording in self._shown_at:
            return True
        self._shown_at[wording] = now
        return False
