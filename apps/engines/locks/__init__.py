"""The hash-locked requirements of every engine environment, one file per engine and variant."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path


@cache
def lock_sha256(engine: str, variant: str) -> str:
    """The identity of today's lock; "" where this engine has none for the variant."""
    path = Path(__file__).parent / f"{engine}-{variant}.txt"
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""
