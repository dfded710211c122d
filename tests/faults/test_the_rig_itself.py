"""A rig that finds nothing has shown nothing: with a bug planted, it must be caught."""

from __future__ import annotations

import signal
import time

import pytest

from tests.faults import witness
from tests.faults.bug import free_at_expiry
from tests.faults.rig import running_rig
from tests.faults.run import Run
from tests.faults.site import wait_for
from tests.faults.timing import LEASE_SECONDS


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_freeing_a_gpu_when_the_lease_ends_is_caught_as_a_double_use() -> None:
    with running_rig(seed=3, hosts=1, gpus=1) as rig, free_at_expiry(rig):
        run = Run(rig, rig.random)
        first = rig.crowd.ask("first", seconds=40.0)
        host, _uuid = run.where(first.job)
        rig.crowd.ask("second", seconds=1.0)
        host.signal_agent(signal.SIGSTOP)
        time.sleep(LEASE_SECONDS + 2)
        host.signal_agent(signal.SIGCONT)
        wait_for(lambda: witness.lines_of(rig.witness / "double_use"), 25, "the witness sees both on one GPU")
