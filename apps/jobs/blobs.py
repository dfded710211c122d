"""Files of jobs, kept once under their sha256: data sets, task files, uploaded results."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from pathlib import Path
from typing import NamedTuple

from django.conf import settings


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
    path = blob_path(sha256)
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as part:
            part.write(data)
            part.flush()
            os.fsync(part.fileno())
        Path(part.name).replace(path)
    return Blob(sha256, len(data))
