"""The beginning of a file on another server, read by range: as many pieces as its header takes, never the weights."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping

import httpx2

from apps.engines.file_headers import BadHeader

BLOCK_BYTES = 1_000_000  # most GGUF headers end within ten of them
HEADER_SECONDS = 60.0


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
        block_bytes: int = BLOCK_BYTES,
    ) -> None:
        super().__init__()
        self._client, self._url, self._size, self._check = client, url, size_bytes, check
        self._headers, self._block_bytes = dict(headers), block_bytes
        self._at, self._block_begins, self._block = 0, 0, b""
        self._deadline = time.monotonic() + HEADER_SECONDS

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
        """Raises BadHeader where the server sends the whole file, or takes too long for a few megabytes."""
        end = min(self._at + self._block_bytes, self._size) - 1
        asked = self._headers | {"Range": f"bytes={self._at}-{end}"}
        with self._client.stream("GET", self._url, headers=asked) as answer:
            if answer.is_error:
                answer.read()
            self._check(answer)
            if answer.status_code != 206:
                raise BadHeader("The server sends no part of a file, only the whole.")
            held = bytearray()
            for piece in answer.iter_bytes():
                held += piece
                if len(held) >= self._block_bytes:
                    break
                if time.monotonic() > self._deadline:
                    raise BadHeader(f"The server did not send its header within {HEADER_SECONDS:g} s.")
        self._block_begins, self._block = self._at, bytes(held[: self._block_bytes])
