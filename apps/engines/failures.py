"""What Python engines print when they fail, and which reason that is. Only lines that name the cause
count: "engine core failed, see above" and the frames of a traceback do not."""

from __future__ import annotations

import re

from apps.engines.base import CauseReason, Event

# vLLM puts "(EngineCore pid=1) ERROR 11-22 20:08:39 [core.py:402] " before each line.
_PREFIX = re.compile(r"^(?:\([\w ]+=?[^)]*\)\s*)*(?:[A-Z]+ \d\d-\d\d \d\d:\d\d:\d\d \[[^\]]+\]\s*)?")
_EXCEPTION = re.compile(r"^(?:[\w.]+\.)?(?P<name>\w+(?:Error|Exception)): (?P<text>\S.*)$")

_PATTERNS: tuple[tuple[CauseReason, str], ...] = (
    ("out_of_memory", r"OutOfMemoryError|CUDA out of memory|CUDA error: out of memory"),
    ("out_of_memory", r"No available memory for the cache blocks"),
    ("out_of_memory", r"To serve at least one request with the models?'s max seq len"),
    ("out_of_memory", r"max seq len \(\d+\) is larger than the maximum number of tokens"),
    ("out_of_memory", r"Free memory on device .* is less than desired"),
    ("out_of_memory", r"can't allocate memory|Cannot allocate memory|^MemoryError"),
    ("disk_full", r"No space left on device"),
    ("port_taken", r"[Aa]ddress already in use"),
    ("gated_model", r"GatedRepoError|Cannot access gated repo|You are trying to access a gated repo"),
    ("model_not_found", r"HFValidationError|RepositoryNotFoundError|Repository Not Found"),
    ("model_not_found", r"is not a local folder and is not a valid model identifier"),
    ("model_not_found", r"does not appear to have a file named config\.json"),
    ("environment_failed", r"^(?:ModuleNotFoundError|ImportError): "),
    ("bad_config", r"^\d+ validation errors? for \w+|error: (?:unrecognized arguments|argument )"),
)
_KNOWN = [(reason, re.compile(pattern)) for reason, pattern in _PATTERNS]


def bare_line(line: str) -> str:
    """The line without the process, level and place that vLLM puts in front."""
    return _PREFIX.sub("", line.strip(), count=1).strip()


def read_failure(line: str) -> Event | None:
    """The cause in a line of a failing engine, with its reason where the text is a known one."""
    bare = bare_line(line)
    for reason, pattern in _KNOWN:
        if pattern.search(bare):
            return Event(cause=bare, reason=reason)
    found = _EXCEPTION.match(bare)
    if found is None or "initialization failed" in bare or "failed to start" in bare:
        return None
    return Event(cause=bare)
