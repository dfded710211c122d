"""First fit: which host and which GPUs take a job, or one sentence why none does.

Hosts are tried in the order given, preferred ones first (they hold the weights already). The caller offers
only what is free now; `total_*` tells "not now" from "never". All sizes in bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

GIB = 2**30


@dataclass(frozen=True, slots=True)
class DeviceOffer:
    """One GPU, with the memory that this job could have on it now (0 when it is taken)."""

    index: int
    free_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class HostOffer:
    """One host that may take jobs, with its GPUs and the RAM not reserved yet."""

    name: str
    free_ram_bytes: int
    total_ram_bytes: int
    devices: Sequence[DeviceOffer] = ()


@dataclass(frozen=True, slots=True)
class Need:
    """What a job asks for. `gpus` 0 means the CPU device, which is shared by reserved RAM."""

    ram_bytes: int = 0
    gpus: int = 0
    vram_bytes: int = 0  # on each GPU
    host: str | None = None  # pinned: this host or none
    preferred_hosts: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Choice:
    """Where it goes: `devices` are GPU indices, empty on the CPU device."""

    host: str
    devices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why nothing takes it. `can_wait` is True when it would fit once other jobs end."""

    reason: str
    can_wait: bool


def place(need: Need, hosts: Sequence[HostOffer]) -> Choice | Refusal:
    """Pick the first host with room, and its first GPUs with room."""
    candidates = [host for host in hosts if need.host in (None, host.name)]
    candidates.sort(key=lambda host: host.name not in need.preferred_hosts)  # stable: keeps the order given
    for host in candidates:
        if host.free_ram_bytes < need.ram_bytes:
            continue
        fitting = [device.index for device in host.devices if device.free_bytes >= max(1, need.vram_bytes)]
        if len(fitting) >= need.gpus:
            return Choice(host.name, tuple(fitting[: need.gpus]))
    return Refusal(_reason(need, candidates), any(_could_take(need, host) for host in candidates))


def _could_take(need: Need, host: HostOffer) -> bool:
    """True when the host would have room with nothing else on it."""
    large_enough = sum(device.total_bytes >= need.vram_bytes for device in host.devices)
    return host.total_ram_bytes >= need.ram_bytes and large_enough >= need.gpus


def _reason(need: Need, hosts: Sequence[HostOffer]) -> str:
    """The first thing that falls short, with the limit beside the value; never-fits before not-now."""
    if not hosts:
        return f"Host {need.host} is not connected." if need.host else "No host is connected."
    widest = max(hosts, key=lambda host: len(host.devices))
    if len(widest.devices) < need.gpus:
        return f"Needs {_gpus(need.gpus)} on one host; {widest.name} has {_gpus(len(widest.devices))}."
    largest = max((d.total_bytes for host in hosts for d in host.devices), default=0)
    if need.gpus and largest < need.vram_bytes:
        return f"Needs {_gib(need.vram_bytes)} on each GPU; the largest GPU has {_gib(largest)}."
    big = max(hosts, key=lambda host: host.total_ram_bytes)
    if big.total_ram_bytes < need.ram_bytes:
        return f"Needs {_gib(need.ram_bytes)} of RAM; {big.name} has {_gib(big.total_ram_bytes)} in all."
    if not any(_could_take(need, host) for host in hosts):
        return f"No single host has {_gpus(need.gpus)} of that size and {_gib(need.ram_bytes)} of RAM."
    freest = max(hosts, key=lambda host: _free_gpus(need, host))
    if need.gpus and _free_gpus(need, freest) < need.gpus:
        free = _gpus(_free_gpus(need, freest))
        return f"Waits for {_gpus(need.gpus)} with {_gib(need.vram_bytes)} free; {freest.name} has {free} free."
    roomy = max(hosts, key=lambda host: host.free_ram_bytes)
    if roomy.free_ram_bytes < need.ram_bytes:
        return f"Waits for {_gib(need.ram_bytes)} of RAM; {roomy.name} has {_gib(roomy.free_ram_bytes)} free."
    return "Waits for a host that has the GPUs and the RAM free at the same time."


def _free_gpus(need: Need, host: HostOffer) -> int:
    return sum(device.free_bytes >= max(1, need.vram_bytes) for device in host.devices)


def _gpus(count: int) -> str:
    return f"{count} GPU" if count == 1 else f"{count} GPUs"


def _gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"
