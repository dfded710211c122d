"""The hash-locked requirements of every engine environment, one file per engine and variant."""

from __future__ import annotations

import hashlib
import re
from functools import cache
from pathlib import Path


@cache
def lock_sha256(engine: str, variant: str) -> str:
    """The identity of today's lock; "" where this engine has none for the variant."""
    path = _path(engine, variant)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""


@cache
def lock_disk_bytes(engine: str, variant: str) -> int:
    """Room that the installed environment takes, from the lock's header; 0 where there is no lock."""
    path = _path(engine, variant)
    found = re.search(r"^# disk-bytes: (\d+)$", path.read_text(), re.MULTILINE) if path.exists() else None
    return int(found[1]) if found else 0


def _path(engine: str, variant: str) -> Path:
    return Path(__file__).parent / f"{engine}-{variant}.txt"
