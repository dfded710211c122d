"""First fit: which host and which GPUs take a job, or one sentence why none does.

Hosts are tried in the order given, preferred ones first (they hold the weights already). The caller offers
only what is free now; `total_*` tells "not now" from "never". All sizes in bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

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
    preferred_hosts: Sequence[str] = field(default=())


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
    where = f"Host {need.host}" if need.host else "No host"
    if not hosts:
        return f"{where} is not connected." if need.host else "No host is connected."
    has = "has only" if need.host else "has; the most is"
    most = max(len(host.devices) for host in hosts)
    if most < need.gpus:
        return f"Needs {need.gpus} {_gpus(need.gpus)}; {where.lower_first()} {has} {most}."
    return ""


def _gpus(count: int) -> str:
    return "GPU" if count == 1 else "GPUs"
