"""Where a job goes: which host and which of its GPUs, or one sentence why none takes it.

A job stays on one host. Of the hosts with room the one is taken that, in this order,
- has the weights on its disk already,
- has the smallest GPUs that suffice, so that the large ones stay free,
- has the GPUs joined by NVLink, where the job asks for several,
- is the fullest, so that whole hosts stay free for large jobs.
A job that asks to be spread goes to the emptiest host first, and only then by the same order.

A GPU may be divided into slots with an equal share of its memory each. A job that names no memory takes
whole GPUs, whatever their size. One whose engine takes a share of the GPU, however large that is, gets as many slots
as the share covers. All sizes in bytes. Pure, and it looks only at what is free now.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from apps.planning.mig import is_slice

GIB = 2**30
# The CUDA context, which lies outside the share that an engine was told to take.
_BESIDE_SHARE = GIB // 2


@dataclass(frozen=True, slots=True)
class DeviceOffer:
    """One GPU of a host. `linked` are the indices of the GPUs joined to it by NVLink."""

    index: int
    total_bytes: int
    free_slots: int = 1
    slots: int = 1
    linked: frozenset[int] = frozenset()
    name: str = ""

    def slots_for(self, need: Need) -> int:
        """How many slots a job takes of it; more than there are where it is too small, or a MIG slice, which is
        joined to no other."""
        if need.vram_bytes > self.total_bytes or (need.gpus > 1 and is_slice(self.name)):
            return self.slots + 1
        taken = need.vram_bytes
        if need.gpu_share:
            taken = min(self.total_bytes, round(need.gpu_share * self.total_bytes) + _BESIDE_SHARE)
        return -(-taken * self.slots // max(1, self.total_bytes)) if taken else self.slots

    def has_room(self, need: Need) -> bool:
        return self.slots_for(need) <= self.free_slots


@dataclass(frozen=True, slots=True)
class HostOffer:
    """One host, with its GPUs and the RAM not reserved yet. A `blocked` one takes nothing; it says why.

    `cannot_run` are the engine environments that do not run there, each with the reason.
    """

    name: str
    free_ram_bytes: int
    total_ram_bytes: int
    devices: tuple[DeviceOffer, ...] = ()
    blocked: str = ""
    cannot_run: Mapping[tuple[str, str], str] = field(default_factory=dict)

    @property
    def free_gpus(self) -> float:
        """In whole GPUs: half of the slots of one counts as half a GPU."""
        return sum(device.free_slots / device.slots for device in self.devices)


@dataclass(frozen=True, slots=True)
class Need:
    """What a job asks for. `gpus` 0 means the CPU device, which is shared by reserved RAM."""

    ram_bytes: int = 0
    gpus: int = 0
    vram_bytes: int = 0  # on each GPU; 0: a whole one
    gpu_share: float = 0.0  # 0 to 1, that its engine takes of a GPU of at least `vram_bytes`; 0: just those bytes
    host: str | None = None  # pinned: this host or none
    spread: bool = False
    environment: tuple[str, str] | None = None  # the engine's and its variant: ("vllm", "cuda")


@dataclass(frozen=True, slots=True)
class Choice:
    """Where it goes: `devices` are GPU indices, empty on the CPU device; `slots` how many of each."""

    host: str
    devices: tuple[int, ...]
    slots: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why nothing takes it. `can_wait` is True when it would fit once other jobs end."""

    reason: str
    can_wait: bool


def place(need: Need, hosts: Sequence[HostOffer], *, preferred: Sequence[str] = ()) -> Choice | Refusal:
    """The best host with room by the order above; a Refusal with its reason where none has."""
    found = find_place(need, hosts, preferred=preferred)
    if found is not None:
        return found
    open_hosts = [host for host in hosts if not host.blocked and need.host in (None, host.name)]
    return Refusal(_reason(need, open_hosts, hosts), any(could_take(need, host) for host in open_hosts))


def find_place(need: Need, hosts: Sequence[HostOffer], *, preferred: Sequence[str] = ()) -> Choice | None:
    """As `place`, for those who do not ask why."""
    roomy = [host for host in hosts if not host.blocked and need.host in (None, host.name) and has_room(need, host)]
    if not roomy:
        return None
    found = [(host, choose_devices(need, host)) for host in roomy]
    host, devices = min(found, key=lambda pair: _rank(need, pair[0], pair[1], preferred))
    return Choice(
        host.name,
        tuple(device.index for device in devices),
        tuple(device.slots_for(need) for device in devices),
    )


def why_not_run(need: Need, host: HostOffer) -> str:
    """Why the engine does not run on the host, however free it is; empty where it does."""
    return host.cannot_run.get(need.environment, "") if need.environment else ""


def has_room(need: Need, host: HostOffer) -> bool:
    is_free = host.free_ram_bytes >= need.ram_bytes and free_gpu_count(need, host) >= need.gpus
    return is_free and not why_not_run(need, host)


def could_take(need: Need, host: HostOffer) -> bool:
    """True when the host would have room with nothing else on it."""
    large_enough = sum(device.slots_for(need) <= device.slots for device in host.devices)
    is_enough = host.total_ram_bytes >= need.ram_bytes and large_enough >= need.gpus
    return is_enough and not why_not_run(need, host)


def choose_devices(need: Need, host: HostOffer) -> Sequence[DeviceOffer]:
    """The GPUs of a host with room that would be taken; none for the CPU device."""
    fitting = [device for device in host.devices if device.has_room(need)]
    fitting.sort(key=lambda device: (device.total_bytes, device.free_slots, device.index))
    if need.gpus < 2 or len(fitting) == need.gpus or not any(device.linked for device in fitting):
        return fitting[: need.gpus]
    return min((_grown_from(seed, fitting, need.gpus) for seed in fitting), key=lambda those: _set_rank(those, fitting))


def _grown_from(seed: DeviceOffer, fitting: Sequence[DeviceOffer], count: int) -> list[DeviceOffer]:
    """`count` GPUs around one: the next always has the most links to those taken, then to those that are left."""
    taken, indices = [seed], {seed.index}
    rest = [device for device in fitting if device is not seed]
    left = {device.index for device in rest}
    while len(taken) < count:
        # The first of equals is the smallest.
        best = max(rest, key=lambda device: (len(device.linked & indices), len(device.linked & left)))
        rest.remove(best)
        left.discard(best.index)
        taken.append(best)
        indices.add(best.index)
    return sorted(taken, key=lambda device: device.index)


def _links(those: Sequence[DeviceOffer], others: Sequence[DeviceOffer]) -> int:
    indices = {device.index for device in others}
    return sum(len(device.linked & indices) for device in those)


def _set_rank(those: Sequence[DeviceOffer], fitting: Sequence[DeviceOffer]) -> tuple[int, int, int, list[int]]:
    """Most links inside, then small GPUs, then few links cut to what stays free, so that pairs stay whole."""
    inside = _links(those, those)
    cut = _links(those, fitting) - inside
    return -inside, max(device.total_bytes for device in those), cut, [device.index for device in those]


def _rank(
    need: Need, host: HostOffer, devices: Sequence[DeviceOffer], preferred: Sequence[str]
) -> tuple[float, bool, int, bool, float, float, str]:
    largest = max((device.total_bytes for device in devices), default=0)
    indices = {device.index for device in devices}
    unlinked = len(devices) > 1 and not all(device.linked & indices for device in devices)
    emptiness = host.free_gpus if need.gpus else float(host.free_ram_bytes)
    first = -emptiness if need.spread else 0.0
    return (first, host.name not in preferred, largest, unlinked, emptiness, float(host.free_ram_bytes), host.name)


def taken_from(host: HostOffer, need: Need, choice: Choice) -> HostOffer:
    """What the host still offers once the job is there."""
    slots = dict(zip(choice.devices, choice.slots, strict=True))
    devices = tuple(
        replace(device, free_slots=device.free_slots - slots.get(device.index, 0)) for device in host.devices
    )
    return replace(host, free_ram_bytes=host.free_ram_bytes - need.ram_bytes, devices=devices)


def _reason(need: Need, hosts: Sequence[HostOffer], every_host: Sequence[HostOffer]) -> str:
    """The first thing that falls short, with the limit beside the value; never-fits before not-now."""
    if not hosts:
        return _no_host(need, every_host)
    able = [host for host in hosts if not why_not_run(need, host)]
    if need.environment and not able:
        return _no_able_host(need, need.environment, hosts)
    hosts = able
    widest = max(hosts, key=lambda host: len(host.devices))
    if len(widest.devices) < need.gpus:
        return f"Needs {gpu_count(need.gpus)} on one host; {widest.name} has {gpu_count(len(widest.devices))}."
    largest = max((d.total_bytes for host in hosts for d in host.devices), default=0)
    if need.gpus and largest < need.vram_bytes:
        return f"Needs {gib(need.vram_bytes)} on each GPU; the largest GPU has {gib(largest)}."
    big = max(hosts, key=lambda host: host.total_ram_bytes)
    if big.total_ram_bytes < need.ram_bytes:
        return f"Needs {gib(need.ram_bytes)} of RAM; {big.name} has {gib(big.total_ram_bytes)} in all."
    if not any(could_take(need, host) for host in hosts):
        ram = f" and {gib(need.ram_bytes)} of RAM" if need.ram_bytes else ""
        has_slices = need.gpus > 1 and any(is_slice(device.name) for host in hosts for device in host.devices)
        joined = " MIG slices are not joined." if has_slices else ""
        return f"No single host has {wanted_gpus(need)}{ram}.{joined}"
    return _not_now(need, [host for host in hosts if could_take(need, host)])


def _no_host(need: Need, every_host: Sequence[HostOffer]) -> str:
    if need.host is None:
        return "No host takes work now." if every_host else "No host is connected."
    pinned = next((host for host in every_host if host.name == need.host), None)
    return f"Host {need.host} {pinned.blocked}." if pinned else f"Host {need.host} is not connected."


def _no_able_host(need: Need, environment: tuple[str, str], hosts: Sequence[HostOffer]) -> str:
    each = [f"{host.name}: {why_not_run(need, host)}." for host in hosts[:3]]
    more = [f"And {len(hosts) - 3} more hosts."] if len(hosts) > 3 else []
    return " ".join([f"No host can run {environment[0]} ({environment[1]}).", *each, *more])


def _not_now(need: Need, hosts: Sequence[HostOffer]) -> str:
    freest = max(hosts, key=lambda host: free_gpu_count(need, host))
    free = free_gpu_count(need, freest)
    if free < need.gpus:
        return f"Needs {wanted_gpus(need)} on one host; {freest.name} has {free} free."
    roomy = max(hosts, key=lambda host: host.free_ram_bytes)
    if roomy.free_ram_bytes < need.ram_bytes:
        return f"Waits for {gib(need.ram_bytes)} of RAM; {roomy.name} has {gib(roomy.free_ram_bytes)} free."
    return "Waits for a host that has the GPUs and the RAM free at the same time."


def free_gpu_count(need: Need, host: HostOffer) -> int:
    return sum(device.has_room(need) for device in host.devices)


def wanted_gpus(need: Need) -> str:
    return f"{need.gpus} × {gib(need.vram_bytes)}" if need.vram_bytes else gpu_count(need.gpus)


def gpu_count(count: int) -> str:
    return f"{count} GPU" if count == 1 else f"{count} GPUs"


def gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"
