"""The scheduler: which waiting job goes where, and what the others are told.

A look ("sweep") reads the queue and the fleet's free picture once, walks through the queue in memory, and
makes each decision in a transaction of its own (decisions.py). Jobs with the same need are refused
together. One sweep runs at a time, so that no two spoil each other's picture; that is for speed only.
Who holds a GPU is decided by locked rows and the database's constraints: a job whose place was taken at
the same moment waits for the next look, and nothing else breaks.

The rule of the line: priority, then work before evaluations and load tests (on GPUs those fill what is
idle), then age. A job without room lets smaller ones behind it pass, but not for ever: the first one that
has waited for PATIENCE keeps the GPUs (or RAM) of the host where it starts first. Until that start only jobs
whose time limit ends before it get in. Nothing is kept for a wait that only the end of a server would end.
A server that finds no room may stop evaluations and load tests (planning/preemption.py); what they leave is
kept for it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from apps.fleet.freeze import FROZEN, is_frozen
from apps.jobs.models import Job
from apps.jobs.sweep import Sweep
from apps.jobs.waits import write_waits

PATIENCE = timedelta(minutes=5)
_RUNNING, _NEXT = 7_301_001, 7_301_002  # advisory locks: who sweeps, and who sweeps after that
LONGEST_SWEEP_SECONDS = 2.0  # then it looks afresh, for a more urgent job may have come


def place_waiting_jobs() -> None:
    """Looks at every waiting job, now or right after the look that is going on."""
    with _turn() as is_mine:
        while is_mine and sweep():
            pass


def sweep() -> bool:
    """One look at the whole queue; True when another one is due at once. While scheduling is frozen it
    places nothing."""
    if is_frozen():
        _tell_that_it_is_frozen()
        return False
    look = Sweep(timezone.now(), patience=PATIENCE, give_up_at=time.monotonic() + LONGEST_SWEEP_SECONDS)
    look.run()
    if not look.is_unfinished:
        write_waits(look.explained())
    return look.is_unfinished


@transaction.atomic
def _tell_that_it_is_frozen() -> None:
    told: dict[str, Any] = {"wait_reason": FROZEN, "wait_hint": "", "expected_start_at": None}
    free = Job.objects.waiting().exclude(**told).lock_free()
    Job.objects.filter(pk__in=free).update(**told)


@contextmanager
def _turn() -> Iterator[bool]:
    """True when it is ours to sweep. False when somebody else is next in line and will see all we saw."""
    if not _lock("pg_try_advisory_lock", _NEXT):
        yield False
        return
    try:
        _lock("pg_advisory_lock", _RUNNING)
    finally:
        _lock("pg_advisory_unlock", _NEXT)
    try:
        yield True
    finally:
        _lock("pg_advisory_unlock", _RUNNING)


def _lock(function: str, number: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {function}(%s)", [number])
        return bool(cursor.fetchone()[0])
