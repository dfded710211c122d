"""Bugs planted on purpose, to see that the rig catches them. They live here, never in the product."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import psycopg

from tests.faults import witness
from tests.faults.rig import Rig
from tests.faults.run import Run
from tests.faults.site import NotInTime, wait_for
from tests.faults.timing import LEASE_SECONDS

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


def provoke(run: Run) -> list[str]:
    """Two jobs for one GPU, the host of the first out of sight past its lease: the double uses that are seen.

    Needs a rig of one host with one GPU.
    """
    first = run.rig.crowd.ask("first", seconds=40.0)
    host, _uuid = run.where(first.job)
    run.rig.crowd.ask("second", seconds=1.0)
    host.signal_agent(signal.SIGSTOP)
    time.sleep(LEASE_SECONDS + 2)
    host.signal_agent(signal.SIGCONT)
    with contextlib.suppress(NotInTime):
        wait_for(lambda: witness.lines_of(run.rig.witness / "double_use"), 25, "the witness sees both on one GPU")
    return witness.lines_of(run.rig.witness / "double_use")
