"""Faults one after the other while the crowd works, then healing and judgement."""

from __future__ import annotations

import contextlib
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from tests.faults.faults import FAULTS, Fault
from tests.faults.judge import Bar, judge, settle
from tests.faults.run import Happened, Run
from tests.faults.site import NotInTime

PAUSE_SECONDS = (0.2, 1.5)


def rehearse(
    run: Run, count: int, among: Sequence[Fault] = FAULTS
) -> tuple[list[dict[str, Any]], Counter[str], list[Bar]]:
    """`count` faults drawn by weight. Returns the jobs in full, why a person ran some again, and the bars."""
    run.rig.crowd.start()
    for _ in range(count):
        time.sleep(run.random.uniform(*PAUSE_SECONDS))
        have_happen(run, run.random.choices(among, [each.weight for each in among])[0])
        run.send_late_write()
        with contextlib.suppress(NotInTime):
            run.rig.heal()
    jobs, acted = settle(run)
    return jobs, acted, judge(run, jobs)


def have_happen(run: Run, one: Fault) -> None:
    """One fault, told as it happens."""
    began = time.monotonic()
    try:
        found = one.happen(run)
    except NotInTime as late:
        run.miss(one.id, str(late))
        found = f"gave up: {late}"
    took = time.monotonic() - began
    run.happened.append(Happened(one.id, one.name, began - run.began, took, found))
    say(f"{began - run.began:6.0f} s  {one.id:4} {one.name}: {found} ({took:.1f} s)")
    for note in run.notes:
        say(note)
    run.notes.clear()


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
