"""What every reader of a weight file's header shares: the refusal, and reading within bounds."""

from __future__ import annotations

from typing import BinaryIO


class BadHeader(Exception):
    """The file is not what it says: cut off, contradictory or hostile. The sentence says where."""


class BoundedReader:
    """Reads forward only, never past the file and never more than `limit` bytes in all."""

    def __init__(self, file: BinaryIO, file_bytes: int, limit: int) -> None:
        self._file, self.file_bytes, self._limit = file, file_bytes, limit
        self.position = 0

    @property
    def left(self) -> int:
        return min(self.file_bytes, self._limit) - self.position

    def take(self, count: int, what: str) -> bytes:
        """Raises BadHeader before anything is read where `count` bytes are not there."""
        self._check(count, what)
        data = self._file.read(count)
        if len(data) != count:
            raise BadHeader(f"{what} is cut off at byte {self.position + len(data):,}.")
        self.position += count
        return data

    def skip(self, count: int, what: str) -> None:
        self._check(count, what)
        self._file.seek(self.position + count)
        self.position += count

    def number(self, count: int, what: str) -> int:
        """Little-endian and without a sign."""
        return int.from_bytes(self.take(count, what), "little")

    def _check(self, count: int, what: str) -> None:
        if not 0 <= count <= self.left:
            end = "the file" if self.file_bytes <= self._limit else f"the {self._limit:,} bytes a header may have"
            raise BadHeader(f"{what} needs {count:,} bytes at byte {self.position:,}, past the end of {end}.")
