"""A rig that finds nothing has shown nothing: with a bug planted, it must be caught."""

from __future__ import annotations

import pytest

from tests.faults.bug import free_at_expiry, provoke
from tests.faults.rig import running_rig
from tests.faults.run import Run


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_freeing_a_gpu_when_the_lease_ends_is_caught_as_a_double_use() -> None:
    with running_rig(seed=3, hosts=1, gpus=1) as rig, free_at_expiry(rig):
        assert provoke(Run(rig, rig.random))
