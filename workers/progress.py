"""What an attempt's output has told so far: how far it is, what it measured, and why it may fail."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import Any

from apps.engines.base import CauseReason, Event, Kind, Phase

FIRST_PHASE: dict[Kind, Phase] = {"install": "installing", "download": "downloading"}
# For these any output is progress: they have long steps without a count.
TALK_IS_PROGRESS: tuple[Kind, ...] = ("install", "download", "convert", "tokenise")
MAX_POINTS = 1000  # in one upload
_NAMED_ERROR = re.compile(r"\b[\w.]*(?:Error|Exception)\b: ?\S")
_TROUBLE = re.compile(r"\b(?:error|fatal|failed|killed|cannot)\b", re.IGNORECASE)
_NO_SPACE = "No space left on device"
_CAUSE_CHARS = 1000


class Progress:
    """Filled by the attempt's own thread; `heartbeat()` may be called from any."""

    def __init__(self, kind: Kind, now: float) -> None:
        self.kind = kind
        self.phase: Phase = FIRST_PHASE.get(kind, "loading")
        self.is_up = kind in FIRST_PHASE  # installing and downloading are work from the first moment
        self.done: float | None = None
        self.total: float | None = None
        self.unit = ""
        self.step: float | None = None
        self.measurements: dict[str, float] = {}
        self.points: list[dict[str, Any]] = []  # not uploaded yet
        self.cause = ""
        self.reason: CauseReason | None = None
        self.moved_at = now
        self._named_error = ""
        self._trouble = ""
        self._last_line = ""

    def read_line(self, line: str, event: Event | None, now: float) -> None:
        """Takes one output line and what the adapter made of it; `now` in seconds since boot."""
        if line.strip():
            self._last_line = line.strip()
        if self.kind in TALK_IS_PROGRESS:
            self.moved_at = now
        if _NO_SPACE in line:
            self.reason = self.reason or "disk_full"
        if _NAMED_ERROR.search(line):
            self._named_error = line.strip()
        elif _TROUBLE.search(line):
            self._trouble = line.strip()
        if event is not None:
            self._take(event, now)

    def _take(self, event: Event, now: float) -> None:
        before = (self.phase, self.done, self.total, self.step, len(self.measurements))
        if event.phase is not None:
            self.set_phase(event.phase)
        if event.progress_done is not None:
            self.done = _finite(event.progress_done)
            self.total = _finite(event.progress_total)
            self.unit = event.progress_unit
        if event.step is not None:
            self.step = event.step
            at = datetime.now(UTC).isoformat()
            self.points += [
                {"name": name, "step": event.step, "value": value, "at": at}
                for name, value in event.metrics.items()
                if math.isfinite(value)
            ]
        self.measurements |= {name: value for name, value in event.measurements.items() if math.isfinite(value)}
        if event.cause and (event.reason or not self.reason):  # a cause with a reason is not talked over
            self.cause = event.cause
        self.reason = event.reason or self.reason
        if (self.phase, self.done, self.total, self.step, len(self.measurements)) != before:
            self.moved_at = now
        if self.kind != "serve" and (event.progress_done is not None or event.step is not None):
            self.is_up = True
            if self.phase == "loading":
                self.phase = "running"  # not every engine says so when it begins to work

    def set_phase(self, phase: Phase) -> None:
        self.phase = phase
        self.is_up = self.is_up or phase in ("ready", "running")

    def note_memory(self, used_bytes: int) -> None:
        """0 means that its processes are gone, which is no measurement."""
        known = self.measurements.get("peak_memory_bytes", 0.0)
        if used_bytes > known:
            self.measurements["peak_memory_bytes"] = float(used_bytes)

    def why(self) -> str:
        """The line a person should read when this run fails."""
        found = self.cause or self._named_error or self._trouble or self._last_line
        return found[:_CAUSE_CHARS]

    def heartbeat(self) -> dict[str, Any]:
        return {
            "phase": self.phase,
            "progress_done": self.done,
            "progress_total": self.total,
            "progress_unit": self.unit,
            "measurements": dict(self.measurements),
        }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
