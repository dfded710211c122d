"""One process at a time on this host for a piece of work that several jobs may ask for at once."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from apps.engines.lines import say

LOOK_SECONDS, SAID_EVERY = 1.0, 60  # looks


@contextmanager
def one_at_a_time(folder: Path, key: str, waiting: str) -> Iterator[None]:
    """An flock that dies with its holder. Who has to wait says so every minute, or it would count as stalled."""
    with (folder / f".{key}.lock").open("w") as file:
        looks = 0
        while not _is_ours(file.fileno()):
            if looks % SAID_EVERY == 0:
                say(waiting)
            looks += 1
            time.sleep(LOOK_SECONDS)
        yield


def _is_ours(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
