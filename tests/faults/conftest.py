"""One rig for the whole folder. What must hold for all tests together is judged when it is put away."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.faults import Happen
from tests.faults.judge import judge, settle
from tests.faults.rig import running_rig
from tests.faults.run import Run

Survive = Callable[[Happen], str]


@pytest.fixture(scope="package")
def run() -> Iterator[Run]:
    keep = os.environ.get("FAULTS_KEEP")  # a new folder, to look into afterwards
    with running_rig(seed=7, hosts=3, gpus=2, keep=Path(keep) if keep else None) as rig:
        run = Run(rig, rig.random)
        rig.crowd.start()
        yield run
        jobs, _acted = settle(run)
        bars = judge(run, jobs)
        missed = [f"{bar.what}: {bar.value:g} {bar.found}" for bar in bars if not bar.ok and bar.id != "misses"]
    assert missed == []


@pytest.fixture
def survive(run: Run) -> Iterator[Survive]:
    """Has one fault happen and fails where it was not survived; what it found is returned."""
    before = len(run.misses)

    def happen(fault: Happen) -> str:
        found = fault(run)
        assert run.misses[before:] == [], found
        return found

    yield happen
    run.rig.heal()
