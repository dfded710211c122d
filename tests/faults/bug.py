"""Bugs planted on purpose, to see that the rig catches them. They live here, never in the product."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import psycopg

from tests.faults.rig import Rig

# Silent is taken for dead: what an attempt holds is given away when its lease runs out.
FREE_AT_EXPIRY = """
    UPDATE fleet_reservation SET released_at = now() WHERE released_at IS NULL AND holder IN
    (SELECT uuid FROM jobs_attempt WHERE ended_at IS NULL AND lease_expires_at < now())
"""


@contextmanager
def no_bug(rig: Rig) -> Iterator[None]:
    yield


@contextmanager
def free_at_expiry(rig: Rig) -> Iterator[None]:
    must_stop = threading.Event()

    def reap() -> None:
        while not must_stop.wait(0.5):
            with contextlib.suppress(psycopg.Error), psycopg.connect(rig.site.postgres.url) as connection:
                connection.execute(FREE_AT_EXPIRY)

    thread = threading.Thread(target=reap, daemon=True)
    thread.start()
    try:
        yield
    finally:
        must_stop.set()
        thread.join(10)


BUGS: dict[str, Callable[[Rig], AbstractContextManager[None]]] = {"": no_bug, "free_at_expiry": free_at_expiry}
