"""The hash-locked packages of every engine environment, one file per engine and variant.

A lock begins with `# key: value` facts: python (version), platform (machine), disk-bytes (room the
installed environment takes), script (the program it must contain), alias (an extra name==version that
the engine asks its own metadata for).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

LOCKS = Path(__file__).parent
_FACT = re.compile(r"^# ([a-z-]+): (.+)$")
_PACKAGE = re.compile(r"^[A-Za-z0-9][\w.-]*==", re.MULTILINE)


class UnknownLock(LookupError):
    """No lock for that engine and variant."""


@dataclass(frozen=True)
class Lock:
    engine: str
    variant: str
    path: Path
    sha256: str
    python: str
    platform: str
    script: str
    alias: str
    disk_bytes: int
    packages: int

    @property
    def key(self) -> str:
        """Folder name of the environment: a changed lock is another environment."""
        return f"{self.engine}-{self.variant}-{self.sha256[:12]}"


@cache
def read_lock(engine: str, variant: str) -> Lock:
    """Raises UnknownLock naming what there is."""
    path = LOCKS / f"{engine}-{variant}.txt"
    names = sorted(found.stem for found in LOCKS.glob("*-c*.txt"))
    if path.stem not in names:
        raise UnknownLock(f"No environment {engine!r} for {variant!r}; there are: {', '.join(names)}")
    text = path.read_text()
    matches = (_FACT.match(line) for line in text.splitlines())
    facts = {match[1]: match[2] for match in matches if match}
    return Lock(
        engine=engine,
        variant=variant,
        path=path,
        sha256=hashlib.sha256(text.encode()).hexdigest(),
        python=facts["python"],
        platform=facts["platform"],
        script=facts["script"],
        alias=facts.get("alias", ""),
        disk_bytes=int(facts["disk-bytes"]),
        packages=len(_PACKAGE.findall(text)),
    )


def lock_sha256(engine: str, variant: str) -> str:
    """The identity of today's lock; "" where this engine has none for the variant."""
    try:
        return read_lock(engine, variant).sha256
    except UnknownLock:
        return ""


def lock_disk_bytes(engine: str, variant: str) -> int:
    """Room that the installed environment takes; 0 where there is no lock."""
    try:
        return read_lock(engine, variant).disk_bytes
    except UnknownLock:
        return 0
