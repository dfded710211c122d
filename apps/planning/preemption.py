"""Which running jobs make room for a server that finds none. Pure.

Only evaluations and load tests are stopped, of lower or equal priority, and only where that makes enough
room: the fewest of them, and of equals those that began last, so that the least work is lost. Training is
never stopped: without a checkpoint to go on from all of its work would be lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from apps.planning.placement import HostOffer, Need, has_room
from apps.planning.timeline import Tenant


def choose_victims(
    need: Need, hosts: Sequence[HostOffer], tenants: Sequence[Tenant], *, priority: int
) -> tuple[Tenant, ...]:
    """The attempts to stop; none when nothing would make enough room, or none is needed."""
    if not need.gpus:
        return ()
    found = [
        victims
        for host in hosts
        if not host.blocked and need.host in (None, host.name)
        for victims in [_victims_on(host, need, tenants, priority)]
        if victims
    ]
    return min(found, key=_loss, default=())


def _victims_on(host: HostOffer, need: Need, tenants: Sequence[Tenant], priority: int) -> tuple[Tenant, ...]:
    here = [each for each in tenants if each.host == host.name and each.devices]
    stoppable = [each for each in here if each.may_be_stopped and not each.is_stopping and each.priority <= priority]
    stoppable.sort(key=lambda each: (-len(each.devices), -each.started_at, each.key))
    room, taken = host, []
    for tenant in stoppable:
        if has_room(need, room):
            break
        room = without(room, tenant)
        taken.append(tenant)
    if not has_room(need, room):
        return ()
    return _pruned(host, need, taken)


def _pruned(host: HostOffer, need: Need, taken: Sequence[Tenant]) -> tuple[Tenant, ...]:
    """Without those whose GPUs turned out not to matter."""
    kept = list(taken)
    for tenant in taken:
        rest = [each for each in kept if each is not tenant]
        room = host
        for other in rest:
            room = without(room, other)
        if has_room(need, room):
            kept = rest
    return tuple(kept)


def without(host: HostOffer, tenant: Tenant) -> HostOffer:
    """What the host would offer once that attempt is gone."""
    freed = dict(zip(tenant.devices, tenant.slots, strict=True))
    devices = tuple(
        replace(device, free_slots=min(device.slots, device.free_slots + freed.get(device.index, 0)))
        for device in host.devices
    )
    return replace(host, devices=devices, free_ram_bytes=host.free_ram_bytes + tenant.ram_bytes)


def _loss(victims: tuple[Tenant, ...]) -> tuple[int, float]:
    return len(victims), -sum(each.started_at for each in victims) / len(victims)
