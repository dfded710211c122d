"""An engine's output on disk: readable progress bars, and a bound on its size with both ends kept.

`log` only grows, so it can be uploaded by offset. Its first `head_bytes` are the output's start; what
follows goes to a few numbered `tail.N` files, and when the engine ends the last of them are appended.
"""

from __future__ import annotations

import os
from pathlib import Path

from workers.journal import FULL, read_json, write_json

LOG = "log"
LINE_BYTES = 64 * 1024  # longer lines are split
BAR_SECONDS = 1.0  # a bar that redraws itself becomes at most one line in this time
TAIL_FILES = 2
APPENDED = "appended.json"  # says from which byte on the log's end is the tail


def tail_files(folder: Path) -> list[Path]:
    """The tail's files, oldest first."""
    found = [path for path in folder.glob("tail.*") if path.suffix[1:].isdigit()]
    return sorted(found, key=tail_number)


def tail_number(path: Path) -> int:
    return int(path.suffix[1:])


def append_tail(folder: Path) -> None:
    """Appends to the log what is kept of the tail, and before it how much is left out. Raises OSError.

    Doing it again changes nothing, also after one that was cut off halfway.
    """
    parts = tail_files(folder)
    if not parts:
        return
    mark = read_json(folder / APPENDED) or {"offset": (folder / LOG).stat().st_size}
    write_json(folder / APPENDED, mark)
    with (folder / LOG).open("r+b") as log:
        log.seek(mark["offset"])
        # Every part but the last is as long as the first that is kept.
        left_out = (tail_number(parts[0]) - 1) * parts[0].stat().st_size
        if left_out:
            log.write(f"[{left_out} bytes left out here.]\n".encode())
        for part in parts:
            log.write(part.read_bytes())


class Lines:
    """Turns raw output into whole lines; `\\r` updates become ordinary, thinned lines."""

    def __init__(self) -> None:
        self.rest = b""  # a line not ended yet
        self.rest_is_bar = False
        self.held = b""  # the newest update of a bar, not written yet
        self.bar_at = 0.0
        self.fed_at = 0.0

    def feed(self, data: bytes, now: float) -> bytes:
        """The lines that are ready after `data`; `now` in seconds, any clock."""
        self.fed_at = now
        if b"\r" not in data and not self.held and not self.rest_is_bar:
            whole, end, rest = data.rpartition(b"\n")
            ready = self.rest + whole + end if end else b""
            self.rest = rest if end else self.rest + rest
        else:
            ready = self._feed_bars(data, now)
        if len(self.rest) > LINE_BYTES:
            ready, self.rest = ready + self.rest + b"\n", b""
        return ready

    def _feed_bars(self, data: bytes, now: float) -> bytes:
        *lines, rest = (self.rest + data).replace(b"\r\n", b"\n").split(b"\n")
        out = bytearray()
        for line in lines:
            drawn = [part for part in line.split(b"\r") if part]
            out += (drawn[-1] if drawn else self.held) + b"\n"
            self.held, self.rest_is_bar = b"", False
        *drawn, self.rest = rest.split(b"\r")
        if drawn:
            self.rest_is_bar = True
            self.held = next((part for part in reversed(drawn) if part), self.held)
        if self.held and now - self.bar_at >= BAR_SECONDS:
            out += self._draw(self.held, now)
        return bytes(out)

    def _draw(self, line: bytes, now: float) -> bytes:
        self.held, self.bar_at = b"", now
        return line + b"\n"

    def idle(self, now: float) -> bytes:
        """What a quiet moment makes visible: a bar's newest state, though no newline has come."""
        if now - max(self.bar_at, self.fed_at) < BAR_SECONDS:
            return b""
        if self.rest_is_bar and self.rest:
            line, self.rest = self.rest, b""
            return self._draw(line, now)
        return self._draw(self.held, now) if self.held else b""

    def end(self) -> bytes:
        """The last line, when the output did not end with a newline."""
        last = self.rest or self.held
        self.rest = self.held = b""
        return last + b"\n" if last else b""


class CappedLog:
    """The log files of one attempt. A disk in trouble loses output, never the engine."""

    def __init__(self, folder: Path, head_bytes: int, tail_bytes: int) -> None:
        self.folder = folder
        self.head_bytes = head_bytes
        self.part_bytes = max(tail_bytes // TAIL_FILES, 1)
        self.head = os.open(folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.head_size = 0
        self.tail = -1
        self.tail_number = 0
        self.tail_size = 0
        self.disk_full = False

    def write(self, data: bytes) -> None:
        try:
            self._spread(data)
        except OSError as error:
            self.disk_full = self.disk_full or error.errno in FULL

    def _spread(self, data: bytes) -> None:
        room = max(self.head_bytes - self.head_size, 0)
        self.head_size += _write(self.head, data[:room])
        rest = data[room:]
        while rest:
            if self.tail < 0 or self.tail_size >= self.part_bytes:
                self._next_tail()
            done = os.write(self.tail, rest[: self.part_bytes - self.tail_size])
            self.tail_size += done
            rest = rest[done:]

    def _next_tail(self) -> None:
        if self.tail >= 0:
            os.close(self.tail)
        else:
            kept = self.part_bytes * TAIL_FILES
            _write(
                self.head,
                f"[The log is longer than {self.head_bytes} bytes. From here on its last {kept} bytes "
                "are kept, and shown when the run ends.]\n".encode(),
            )
        self.tail_number += 1
        path = self.folder / f"tail.{self.tail_number}"
        self.tail = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        self.tail_size = 0
        for old in tail_files(self.folder)[:-TAIL_FILES]:
            old.unlink(missing_ok=True)

    def close(self) -> None:
        """Appends the tail to the log and puts it on disk."""
        try:
            append_tail(self.folder)
            os.fsync(self.head)
        except OSError as error:
            self.disk_full = self.disk_full or error.errno in FULL
        finally:
            os.close(self.head)
            if self.tail >= 0:
                os.close(self.tail)


def _write(handle: int, data: bytes) -> int:
    """Writes all of `data` and returns its length; OSError when the disk is full."""
    done = 0
    while done < len(data):
        done += os.write(handle, data[done:])
    return done
