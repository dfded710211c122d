"""R1 and R24 in full, each on a rig of its own: `make test-long`, about three hours on two cores."""

from __future__ import annotations

import pytest

from tests.faults.faults import FAULTS
from tests.faults.rehearsal import rehearse
from tests.faults.rig import running_rig
from tests.faults.run import Run

HOUR = 3600
pytestmark = pytest.mark.long


@pytest.mark.timeout(4 * HOUR)
def test_r24_a_thousand_faults_lose_and_double_nothing() -> None:
    with running_rig(seed=24) as rig:
        _jobs, _acted, bars = rehearse(Run(rig, rig.random), 1000)
    assert [f"{bar.what}: {bar.value:g} {bar.found}" for bar in bars if not bar.ok] == []


@pytest.mark.timeout(2 * HOUR)
def test_r1_five_hundred_agent_kills_end_no_engine() -> None:
    kills = [each for each in FAULTS if each.id == "R1"]
    with running_rig(seed=1) as rig:
        run = Run(rig, rig.random)
        _jobs, _acted, bars = rehearse(run, 500, kills)
    assert [f"{bar.what}: {bar.value:g} {bar.found}" for bar in bars if not bar.ok] == []
    assert run.adopted == run.adoptions > 250
