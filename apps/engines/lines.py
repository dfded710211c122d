"""The lines our own programs print (installer, downloader, fake engine), written and read in one place.

[3/6 steps] Installing 148 packages      progress: done/total, unit, what is going on
phase: loading                           one of base.Phase
metric step=3 loss=2.1 learning_rate=1e-4
measured peak_memory_bytes=1950000000    a fact held against an estimate
failed (disk_full): 4.5 GB are needed ... the line a person reads when the run fails
"""

from __future__ import annotations

import re
import sys
from typing import Any, get_args

from apps.engines.base import CauseReason, Event, Phase

_PROGRESS = re.compile(r"^\[(?P<done>\d+(?:\.\d+)?)/(?P<total>\d+(?:\.\d+)?) (?P<unit>\w+)\] ")
_PHASE = re.compile(r"^phase: (?P<phase>\w+)$")
_METRIC = re.compile(r"^metric step=(?P<step>\d+(?:\.\d+)?)(?P<pairs>(?: \w+=\S+)+)$")
_MEASURED = re.compile(r"^measured(?P<pairs>(?: \w+=\S+)+)$")
_FAILED = re.compile(r"^failed \((?P<reason>\w+)\): (?P<cause>.+)$")


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def progress_line(done: float, total: float, unit: str, text: str) -> str:
    return f"[{done:.10g}/{total:.10g} {unit}] {text}"


def phase_line(phase: Phase) -> str:
    return f"phase: {phase}"


def metric_line(step: float, **values: float) -> str:
    return f"metric step={step:.10g} " + " ".join(f"{name}={value!r}" for name, value in values.items())


def measured_line(**values: float) -> str:
    return "measured " + " ".join(f"{name}={value!r}" for name, value in values.items())


def failed_line(reason: CauseReason, cause: str) -> str:
    return f"failed ({reason}): {cause}"


def read_own_line(line: str) -> Event | None:
    """The event in a line written by the functions above, or None for any other line."""
    line = line.rstrip("\r\n")
    for pattern, read in _READERS:
        if match := pattern.match(line):
            return read(match.groupdict())
    return None


def _progress(found: dict[str, Any]) -> Event:
    return Event(progress_done=float(found["done"]), progress_total=float(found["total"]), progress_unit=found["unit"])


def _phase(found: dict[str, Any]) -> Event | None:
    return Event(phase=found["phase"]) if found["phase"] in get_args(Phase) else None


def _metric(found: dict[str, Any]) -> Event:
    return Event(step=float(found["step"]), metrics=_numbers(found["pairs"]))


def _measured(found: dict[str, Any]) -> Event:
    return Event(measurements=_numbers(found["pairs"]))


def _numbers(pairs: str) -> dict[str, float]:
    return {name: float(value) for name, _, value in (pair.partition("=") for pair in pairs.split())}


def _failed(found: dict[str, Any]) -> Event:
    known = found["reason"] in get_args(CauseReason)
    return Event(reason=found["reason"] if known else None, cause=found["cause"])


_READERS = (
    (_PROGRESS, _progress), (_PHASE, _phase), (_METRIC, _metric), (_MEASURED, _measured), (_FAILED, _failed),
)  # fmt: skip
