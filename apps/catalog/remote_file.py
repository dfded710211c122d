"""The beginning of a file on another server, read by range: as many pieces as its header takes, never the weights."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Mapping

import httpx2

from apps.engines.file_headers import BadHeader
from apps.fleet.egress import READ_SECONDS

BLOCK_BYTES = 1_000_000  # most GGUF headers end within ten of them
LOOK_SECONDS, LOOK_BYTES = 45.0, 64_000_000  # for all that is read of one repository before it is added


class NotRead(BadHeader):
    """A header that was not read to its end, because the look took too long or too much already."""


class Budget:
    """What one look may take in all, however many files it reads at once."""

    def __init__(self, seconds: float = LOOK_SECONDS, most_bytes: int = LOOK_BYTES) -> None:
        self._seconds, self._most_bytes = seconds, most_bytes
        self._deadline, self._bytes_left = time.monotonic() + seconds, most_bytes
        self._lock = threading.Lock()

    @property
    def seconds_left(self) -> float:
        return max(0.0, self._deadline - time.monotonic())

    def check(self) -> None:
        """Raises NotRead where nothing is left."""
        if not self.seconds_left:
            raise NotRead(f"The server did not send its headers within {self._seconds:g} s.")
        if self._bytes_left <= 0:
            raise NotRead(f"Its headers are longer than {self._most_bytes / 1e6:g} MB together.")

    def spend(self, count: int) -> None:
        """Raises NotRead as `check`, before the bytes are used."""
        self.check()
        with self._lock:
            self._bytes_left -= count


class RemoteFile(io.RawIOBase):
    """Reads forward through a file, one block at a time. `check` raises for an answer that is a refusal.

    Reading raises BadHeader, and what the client raises.
    """

    def __init__(
        self,
        client: httpx2.Client,
        url: str,
        size_bytes: int,
        *,
        headers: Mapping[str, str],
        check: Callable[[httpx2.Response], object],
        budget: Budget,
        block_bytes: int = BLOCK_BYTES,
        most_bytes: int = LOOK_BYTES,
    ) -> None:
        super().__init__()
        self._client, self._url, self._size, self._check = client, url, size_bytes, check
        self._headers, self._block_bytes, self._budget = dict(headers), block_bytes, budget
        self._most_bytes = most_bytes
        self._at, self._block_begins, self._block = 0, 0, b""

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset
        return offset

    def read(self, size: int = -1) -> bytes:
        found = bytearray()
        while len(found) < size and self._at < self._size:
            begin = self._at - self._block_begins
            if not 0 <= begin < len(self._block):
                self._fetch()
                begin = 0
                if not self._block:
                    break
            piece = self._block[begin : begin + size - len(found)]
            found += piece
            self._at += len(piece)
        return bytes(found)

    def _fetch(self) -> None:
        """Raises BadHeader where the server sends the whole file, NotRead where the budget or the file's own part of it
        is spent."""
        self._budget.check()
        if self._at >= self._most_bytes:
            raise NotRead(f"Its header is longer than {self._most_bytes / 1e6:g} MB.")
        end = min(self._at + self._block_bytes, self._size) - 1
        asked = self._headers | {"Range": f"bytes={self._at}-{end}"}
        timeout = min(READ_SECONDS, self._budget.seconds_left)
        with self._client.stream("GET", self._url, headers=asked, timeout=timeout) as answer:
            if answer.is_error:
                answer.read()
            self._check(answer)
            if answer.status_code != 206:
                raise BadHeader("The server sends no part of a file, only the whole.")
            held = bytearray()
            for piece in answer.iter_bytes():
                self._budget.spend(len(piece))
                held += piece
                if len(held) >= self._block_bytes:
                    break
        self._block_begins, self._block = self._at, bytes(held[: self._block_bytes])
