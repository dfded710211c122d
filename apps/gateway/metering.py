"""What was used, written down before the last byte leaves: one JSON line a request, append-only."""

from __future__ import annotations

import logging
import os
import secrets
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

logger = logging.getLogger(__name__)

SPOOL_GLOB = "usage-*.jsonl"


class UsageLine(msgspec.Struct):
    """One request. `is_exact` False: the engine never told, so the tokens are counted from what passed."""

    uuid: str
    team_id: int
    key_id: int | None
    route: str
    endpoint_id: int | None
    status: int
    is_stream: bool
    prompt_tokens: int
    completion_tokens: int
    is_exact: bool
    ttft_ms: float | None
    duration_ms: float
    at: str  # ISO 8601, UTC


def utc_now() -> str:
    return datetime.now(UTC).isoformat()


class Spool:
    """Appends lines. Each process writes its own file, a new one each hour, so that old ones can go."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._token = secrets.token_hex(4)
        self._hour = -1
        self._file = -1

    def append(self, line: UsageLine) -> None:
        """One write: a line is there whole or not at all, and survives the death of this process."""
        hour = int(time.time() // 3600)
        if hour != self._hour:
            self._open(hour)
        os.write(self._file, msgspec.json.encode(line) + b"\n")

    def _open(self, hour: int) -> None:
        self.close()
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / f"usage-{os.getpid()}-{self._token}-{hour}.jsonl"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._hour = hour

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
        self._file, self._hour = -1, -1


def read_lines(path: Path, offset: int) -> tuple[list[dict[str, Any]], int]:
    """Whole lines from `offset`, and the offset behind them. A torn last line stays for later."""
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read(4 * 1024 * 1024)
    end = data.rfind(b"\n") + 1
    rows = [row for line in data[:end].splitlines() if (row := _row(line, path)) is not None]
    return rows, offset + end


def _row(line: bytes, path: Path) -> dict[str, Any] | None:
    """None for a line that a full disk cut short: it must not hold up those behind it."""
    try:
        row: dict[str, Any] = msgspec.to_builtins(msgspec.json.decode(line, type=UsageLine))
    except msgspec.DecodeError as error:
        logger.error("a usage line of %s cannot be read: %s", path.name, error)
        return None
    return row
