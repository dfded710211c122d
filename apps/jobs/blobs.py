"""Files of jobs, kept once under their sha256: data sets, task files, uploaded results."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from django.conf import settings

PART = ".part-"
PART_LIVES_SECONDS = 24 * 60 * 60


class Blob(NamedTuple):
    sha256: str
    size_bytes: int


def blob_path(sha256: str) -> Path:
    """Where the bytes lie. Raises ValueError for anything but 64 hex digits."""
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise ValueError(f"not a sha256: {sha256!r}")
    return Path(settings.BLOB_DIR) / sha256[:2] / sha256


def put_blob(data: bytes) -> Blob:
    """Stores the bytes, whole or not at all; storing the same bytes again is free."""
    sha256 = hashlib.sha256(data).hexdigest()
    return Blob(sha256, len(data)) if blob_path(sha256).exists() else put_pieces([data])


def put_pieces(pieces: Iterable[bytes]) -> Blob:
    """As `put_blob`, of any size and never whole in memory; an error of `pieces` leaves nothing behind."""
    folder = Path(settings.BLOB_DIR)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    number, name = tempfile.mkstemp(prefix=PART, dir=folder)
    part = Path(name)
    try:
        blob = _written(number, pieces)
        path = blob_path(blob.sha256)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return blob


def _written(number: int, pieces: Iterable[bytes]) -> Blob:
    digest, size_bytes = hashlib.sha256(), 0
    with os.fdopen(number, "wb") as file:
        for piece in pieces:
            file.write(piece)
            digest.update(piece)
            size_bytes += len(piece)
        file.flush()
        os.fsync(file.fileno())
    return Blob(digest.hexdigest(), size_bytes)


def forget_torn_parts() -> None:
    """What a process left that was killed while bytes arrived."""
    for part in Path(settings.BLOB_DIR).glob(f"{PART}*"):
        with contextlib.suppress(FileNotFoundError):  # it has become whole
            if time.time() - part.stat().st_mtime > PART_LIVES_SECONDS:
                part.unlink()
