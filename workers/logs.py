"""Follows an attempt's log files: to the server byte by byte, to the adapter line by line."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from workers.client import Lease, Server
from workers.logfile import LOG, tail_files, tail_number

CHUNK_BYTES = 1024 * 1024
CHUNKS_A_TURN = 8  # so that a flood does not keep an attempt from being watched
_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _read(path: Path, offset: int, size: int) -> bytes:
    """Up to `size` bytes from `offset`; empty when there are none, or no such file."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(size)
    except OSError:
        return b""


class LogUpload:
    """Sends `log` by offset. After a restart it begins at 0, and the server answers what it holds."""

    def __init__(self, server: Server, lease: Lease, folder: Path) -> None:
        self.server = server
        self.lease = lease
        self.path = folder / LOG
        self.offset = 0

    def send(self) -> bool:
        """Sends what is new, at most a few chunks; True when nothing is left. Errors as in Server.call."""
        for _ in range(CHUNKS_A_TURN):
            if _size(self.path) <= self.offset:
                return True
            data = _read(self.path, self.offset, CHUNK_BYTES)
            self.offset = self.server.logs(self.lease, self.offset, data)
        return _size(self.path) <= self.offset


class LogLines:
    """Reads whole lines in order: the log's head, then, when that is full, the tail."""

    def __init__(self, folder: Path, head_bytes: int, take: Callable[[str], None]) -> None:
        self.folder = folder
        self.head_bytes = head_bytes
        self.take = take
        self.offset = 0
        self.tail: Path | None = None
        self.rest = b""

    def read(self) -> bool:
        """Reads what is new, at most a few chunks; True when nothing is left."""
        for _ in range(CHUNKS_A_TURN):
            data = self._next()
            if not data:
                return True
            *lines, self.rest = (self.rest + data).split(b"\n")
            for line in lines:
                self.take(_ANSI.sub("", line.decode(errors="replace")).replace("\0", ""))
        return False

    def _next(self) -> bytes:
        if self.tail is None:
            data = _read(self.folder / LOG, self.offset, min(CHUNK_BYTES, self.head_bytes - self.offset))
        else:
            data = _read(self.tail, self.offset, CHUNK_BYTES)
        if not data and self._turn_to_next_tail():
            data = _read(self.tail or self.folder, 0, CHUNK_BYTES)
        self.offset += len(data)
        return data

    def _turn_to_next_tail(self) -> bool:
        """Moves on when there is a newer file; a reader that fell behind skips what lies between."""
        found = tail_files(self.folder)
        if not found or found[-1] == self.tail:
            return False
        if self.tail is None and self.offset < self.head_bytes:
            return False
        later = [path for path in found if self.tail is None or tail_number(path) > tail_number(self.tail)]
        self.tail, self.offset = later[0], 0
        return True
