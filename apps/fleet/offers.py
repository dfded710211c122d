"""What every host offers now, and who holds the rest: four queries, whatever the size of the fleet."""

from __future__ import annotations

import uuid
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from django.utils import timezone

from apps.engines.locks import lock_sha256
from apps.engines.locks.platforms import HostFacts, Key, cannot_run
from apps.fleet.host_states import HostState
from apps.fleet.models import Device, EngineEnvironment, Host, Reservation
from apps.fleet.querysets import fleet_devices
from apps.planning.placement import DeviceOffer, HostOffer


@dataclass(slots=True)
class Held:
    """What one holder has of a host: slots by GPU index, and RAM of the CPU device."""

    host: str
    slots: dict[int, int] = field(default_factory=dict)
    ram_bytes: int = 0


@dataclass(frozen=True, slots=True)
class FleetNow:
    """Every host by name, blocked ones too, and every holder."""

    hosts: list[HostOffer]
    holders: dict[uuid.UUID, Held]


def fleet_now() -> FleetNow:
    hosts = list(Host.objects.order_by("name"))
    names = {host.pk: host.name for host in hosts}
    devices = {device.pk: device for device in Device.objects.filter(is_present=True).order_by("index")}
    used: Counter[int] = Counter()
    ram: Counter[int] = Counter()
    holders: dict[uuid.UUID, Held] = {}
    live = Reservation.objects.filter(released_at=None).values_list(
        "holder", "device_id", "device__host_id", "device__kind", "device__index", "ram_bytes"
    )
    for holder, device_id, host_id, kind, index, ram_bytes in live:
        held = holders.setdefault(holder, Held(names[host_id]))
        if kind == Device.Kind.GPU:
            used[device_id] += 1
            held.slots[index] = held.slots.get(index, 0) + 1
        else:
            ram[device_id] += ram_bytes
            held.ram_bytes += ram_bytes
    of_host: dict[int, list[Device]] = defaultdict(list)
    for device in devices.values():
        of_host[device.host_id].append(device)
    own = _own_environments()
    return FleetNow([_offer(host, of_host[host.pk], own[host.pk], used, ram) for host in hosts], holders)


def gpus_that_run(environment: str | None, *, only: Host | None = None) -> list[Device]:
    """The present GPUs, largest first and with their hosts, where the engine environment runs with CUDA: of the hosts
    that still belong to the fleet, or of one alone. All of them for one that no lock and no operator has placed yet."""
    gpus = fleet_devices(Device.Kind.GPU, only=only)
    found = list(gpus.select_related("host").order_by("-memory_bytes", "host__name", "index"))
    own = _own_environments() if found and environment else {}
    if not environment or not _is_placed(environment, own):
        return found
    of_host: dict[Host, list[Device]] = defaultdict(list)
    for gpu in found:
        of_host[gpu.host].append(gpu)
    able = {
        host
        for host, those in of_host.items()
        if (environment, "cuda") not in cannot_run(_facts(host, those, own.get(host.pk, set())))
    }
    return [gpu for gpu in found if gpu.host in able]


def _is_placed(environment: str, own: dict[int, set[Key]]) -> bool:
    return bool(lock_sha256(environment, "cuda")) or any(
        name == environment for keys in own.values() for name, _ in keys
    )


def _own_environments() -> dict[int, set[Key]]:
    """Host -> what its operator configured by path, which runs there whatever our locks are made for."""
    own: dict[int, set[Key]] = defaultdict(set)
    given = EngineEnvironment.objects.filter(lock_sha256="")
    for host_id, engine, variant in given.values_list("host_id", "engine", "variant"):
        own[host_id].add((engine, variant))
    return own


def _offer(host: Host, devices: list[Device], own: set[Key], used: Counter[int], ram: Counter[int]) -> HostOffer:
    cpu = next((device for device in devices if device.kind == Device.Kind.CPU), None)
    gpus = [device for device in devices if device.kind == Device.Kind.GPU]
    indices = {gpu.uuid: gpu.index for gpu in gpus}
    return HostOffer(
        name=host.name,
        free_ram_bytes=cpu.capacity_bytes - ram[cpu.pk] if cpu else 0,
        total_ram_bytes=cpu.capacity_bytes if cpu else 0,
        devices=tuple(_device_offer(gpu, used[gpu.pk], indices) for gpu in gpus),
        blocked=blocked_sentence(host),
        cannot_run=cannot_run(_facts(host, gpus, own)),
    )


def _facts(host: Host, gpus: list[Device], own: set[Key]) -> HostFacts:
    nvidia = [gpu for gpu in gpus if not gpu.is_amd]
    return HostFacts(
        architecture=host.architecture,
        nvidia_drivers=frozenset(gpu.driver for gpu in nvidia),
        has_nvidia=bool(nvidia),
        has_amd=len(nvidia) < len(gpus),
        own=frozenset(own),
    )


def _device_offer(gpu: Device, used: int, indices: dict[str, int]) -> DeviceOffer:
    joined = (link["uuid"] for link in gpu.links if link.get("kind") == "nvlink")
    return DeviceOffer(
        index=gpu.index,
        total_bytes=gpu.memory_bytes,
        free_slots=max(0, gpu.slots - used),
        slots=gpu.slots,
        linked=frozenset(indices[uuid] for uuid in joined if uuid in indices),
        name=gpu.name,
    )


def blocked_sentence(host: Host) -> str:
    """Why it takes no work, to be read after its name; empty where it does."""
    why = f": {host.cordon_reason}" if host.cordon_reason else ""
    match host.state:
        case HostState.CONNECTED:
            return ""
        case HostState.UNREACHABLE if host.last_seen_at is None:
            return "has not reported yet"
        case HostState.UNREACHABLE:
            return f"is silent since {timezone.localtime(host.last_seen_at):%H:%M}"
        case HostState.CORDONED | HostState.DRAINING as state:
            return f"is {state.value}{why}"
        case HostState.LEFT:
            return "has left"
        case _:
            return "is fenced"
