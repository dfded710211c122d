from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from apps.planning.placement import DeviceOffer, HostOffer, Need
from apps.planning.preemption import choose_victims
from apps.planning.timeline import Tenant

GIB = 2**30


def host(name: str, gpus: int, *, free: tuple[int, ...] = (), size: int = 80) -> HostOffer:
    return HostOffer(name, 0, 0, tuple(DeviceOffer(i, size * GIB, int(i in free)) for i in range(gpus)))


def evaluation(where: str, *devices: int, started: float = 0, **fields: object) -> Tenant:
    tenant = Tenant(
        f"{where}{devices}", "job", where, devices, (1,) * len(devices), started_at=started, may_be_stopped=True
    )
    return replace(tenant, **fields)  # type: ignore[arg-type]


def keys(need: Need, hosts: list[HostOffer], tenants: list[Tenant], priority: int = 0) -> list[str]:
    return [each.key for each in choose_victims(need, hosts, tenants, priority=priority)]


def test_the_fewest_are_stopped_and_of_equals_the_one_that_began_last() -> None:
    tenants = [evaluation("a", 0), evaluation("a", 1), evaluation("b", 0, 1, started=5)]
    assert keys(Need(gpus=2), [host("a", 2), host("b", 2)], tenants) == ["b(0, 1)"]
    tenants = [evaluation("a", 0, started=1), evaluation("a", 1, started=9), evaluation("b", 0, started=4)]
    assert keys(Need(gpus=1), [host("a", 2), host("b", 1)], tenants) == ["a(1,)"]


def test_one_whose_gpus_do_not_matter_goes_on() -> None:
    """The wide one is tried first, but its small GPUs would not help."""
    devices = tuple(DeviceOffer(i, size * GIB, 0) for i, size in enumerate((24, 24, 80)))
    tenants = [evaluation("a", 0, 1), evaluation("a", 2)]
    assert keys(Need(gpus=1, vram_bytes=60 * GIB), [HostOffer("a", 0, 0, devices)], tenants) == ["a(2,)"]


@pytest.mark.parametrize(
    "spared",
    [{"may_be_stopped": False}, {"priority": 1}, {"is_stopping": True}],
    ids=["training", "more urgent", "stopping already"],
)
def test_nothing_is_stopped_that_may_not_be(spared: dict[str, Any]) -> None:
    assert keys(Need(gpus=1), [host("a", 1)], [evaluation("a", 0, **spared)]) == []


def test_nothing_is_stopped_in_vain() -> None:
    tenants = [evaluation("a", 0), evaluation("b", 0)]
    assert keys(Need(gpus=2), [host("a", 2), host("b", 1)], tenants) == [], "the other GPU of a is a trainer's"
    assert keys(Need(gpus=1), [replace(host("a", 1), blocked="is cordoned")], tenants) == []
    assert keys(Need(gpus=1, host="b"), [host("a", 1), host("b", 1)], tenants) == ["b(0,)"]
