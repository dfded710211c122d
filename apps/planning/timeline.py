"""When a GPU gets free, and when each waiting job would start. Times are seconds since the epoch.

An end that nobody knows is SOMETIME, later than every known time; a server's is NEVER, for only a person
ends it. Waiting jobs are walked through in the order in which they will be looked at; each takes the host
where it starts first. A small job that slips into a gap may start earlier than said here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from apps.planning.placement import DeviceOffer, HostOffer, Need, why_not_run

SOMETIME = 1e15
NEVER = math.inf


@dataclass(frozen=True, slots=True)
class Tenant:
    """What an attempt holds on a host, and until when. `slots` says how many of each of `devices`."""

    key: str
    label: str  # as people call its job
    host: str
    devices: tuple[int, ...] = ()
    slots: tuple[int, ...] = ()
    ram_bytes: int = 0
    ends_at: float = SOMETIME
    started_at: float = 0.0
    priority: int = 0
    may_be_stopped: bool = False  # by a server that finds no room
    is_stopping: bool = False  # it was asked to, and lets go within the grace


@dataclass(frozen=True, slots=True)
class Start:
    """The first chance of a job: when, where, on which GPUs, and whose end it waits for."""

    at: float
    host: str
    devices: tuple[int, ...]
    after: tuple[str, ...]  # labels

    @property
    def is_known(self) -> bool:
        return self.at < SOMETIME


class HostTimeline:
    """When each slot of each GPU, and each share of RAM, of one host gets free."""

    def __init__(self, host: HostOffer, tenants: Iterable[Tenant], now: float) -> None:
        self.name, self.now, self.offer = host.name, now, host
        self._known: dict[Need, Start | None] = {}  # until something here changes
        self.devices = {device.index: device for device in host.devices}
        self.free_at: dict[int, list[tuple[float, str]]] = {
            device.index: [(now, "")] * device.free_slots for device in host.devices
        }
        self.ram: list[tuple[float, int, str]] = [(now, host.free_ram_bytes, "")]
        for tenant in tenants:
            ends_at = max(now, tenant.ends_at)
            for index, count in zip(tenant.devices, tenant.slots, strict=True):
                if index in self.free_at:
                    self.free_at[index] += [(ends_at, tenant.label)] * count
            if tenant.ram_bytes:
                self.ram.append((ends_at, tenant.ram_bytes, tenant.label))

    def earliest(self, need: Need) -> Start | None:
        """None where it never fits, however long it waits."""
        if need not in self._known:
            self._known[need] = self._earliest(need)
        return self._known[need]

    def _earliest(self, need: Need) -> Start | None:
        if why_not_run(need, self.offer):
            return None
        gpus = self._gpus(need)
        ram = self._ram(need.ram_bytes)
        if gpus is None or ram is None:
            return None
        at = max([self.now, ram[0]] + [time for time, _, _ in gpus])
        labels = [label for _, _, after in gpus for label in after] + ram[1]
        return Start(at, self.name, tuple(index for _, index, _ in gpus), tuple(dict.fromkeys(labels)))

    def _gpus(self, need: Need) -> list[tuple[float, int, list[str]]] | None:
        """(time, index, labels waited for) of the `need.gpus` GPUs that are free first."""
        found = []
        for index, times in self.free_at.items():
            count = self.devices[index].slots_for(need)
            if count <= min(len(times), self.devices[index].slots):
                first = sorted(times)[:count]
                found.append((first[-1][0], index, [label for _, label in first if label]))
        found.sort(key=lambda each: (each[0], self.devices[each[1]].total_bytes, each[1]))
        return found[: need.gpus] if len(found) >= need.gpus else None

    def _ram(self, wanted: int) -> tuple[float, list[str]] | None:
        if wanted <= 0:
            return self.now, []
        held, labels = 0, []
        for at, size, label in sorted(self.ram):
            held += size
            labels += [label] if label else []
            if held >= wanted:
                return at, labels
        return None

    def take(self, need: Need, start: Start, *, label: str, seconds: float | None) -> None:
        """The job is there from its start on, and lets go `seconds` later, if anybody knows."""
        self._known.clear()
        ends_at = start.at + seconds if seconds is not None and start.is_known else SOMETIME
        for index in start.devices:
            count = self.devices[index].slots_for(need)
            self.free_at[index] = sorted(self.free_at[index])[count:] + [(ends_at, label)] * count
        if need.ram_bytes:
            self.ram += [(start.at, -need.ram_bytes, ""), (ends_at, need.ram_bytes, label)]


class FleetTimeline:
    """All hosts that take work."""

    def __init__(self, hosts: Sequence[HostOffer], tenants: Sequence[Tenant], now: float) -> None:
        self.hosts = {
            host.name: HostTimeline(host, [each for each in tenants if each.host == host.name], now)
            for host in hosts
            if not host.blocked
        }

    def earliest(self, need: Need) -> Start | None:
        """On the host where it starts first; None where it fits on none, ever."""
        names = [need.host] if need.host else list(self.hosts)
        starts = [start for name in names if name in self.hosts and (start := self.hosts[name].earliest(need))]
        return min(starts, key=lambda start: (start.at, len(start.after), start.host), default=None)

    def take(self, need: Need, start: Start, *, label: str, seconds: float | None) -> None:
        self.hosts[start.host].take(need, start, label=label, seconds=seconds)


@dataclass(frozen=True, slots=True)
class Hold:
    """GPUs, or the RAM, of one host that are kept for a job until it has all of what it needs."""

    label: str
    host: str
    devices: frozenset[int]
    keeps_ram: bool
    until: float

    def lets_in(self, *, now: float, seconds: float | None) -> bool:
        """A job that is sure to be over by then costs the one that waits nothing."""
        return seconds is not None and now + seconds <= self.until and self.until < SOMETIME

    def hide(self, host: HostOffer) -> HostOffer:
        """What the host offers to all others."""
        if host.name != self.host:
            return host
        devices = tuple(_full(device) if device.index in self.devices else device for device in host.devices)
        ram = 0 if self.keeps_ram else host.free_ram_bytes
        return HostOffer(host.name, ram, host.total_ram_bytes, devices, host.blocked, host.cannot_run)


def hold_for(need: Need, start: Start, *, label: str) -> Hold | None:
    """None where the wait ends only when a person stops a server: nobody keeps GPUs idle for that."""
    if start.at >= NEVER:
        return None
    return Hold(label, start.host, frozenset(start.devices), need.ram_bytes > 0, start.at)


def _full(device: DeviceOffer) -> DeviceOffer:
    return DeviceOffer(device.index, device.total_bytes, 0, device.slots, device.linked, device.name)
