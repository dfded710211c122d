"""One process at a time on this host for a piece of work that several jobs may ask for at once."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from apps.engines.lines import say

LOOK_SECONDS, SAID_EVERY = 1.0, 60  # looks


@contextmanager
def one_at_a_time(folder: Path, key: str, waiting: str) -> Iterator[None]:
    """An flock that dies with its holder. Who has to wait says so every minute, or it would count as stalled.

    Where nothing can be locked (a folder that is only read, a file system without locks) nobody waits.
    """
    descriptor = _opened(folder / f".{key}.lock")
    looks = 0
    try:
        while descriptor is not None and not _is_ours(descriptor):
            if looks % SAID_EVERY == 0:
                say(waiting)
            looks += 1
            time.sleep(LOOK_SECONDS)
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _opened(path: Path) -> int | None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
    except OSError:
        return None


def _is_ours(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
