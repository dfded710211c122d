"""Why a job waits, host by host, and the smallest change that would start it. Pure.

Each hint was tried: the job with that change has a place in what is free now.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from apps.planning.placement import (
    GIB,
    HostOffer,
    Need,
    find_place,
    free_gpu_count,
    gib,
    gpu_count,
    has_room,
    wanted_gpus,
    why_not_run,
)
from apps.planning.timeline import FleetTimeline, Start


def hints(need: Need, hosts: Sequence[HostOffer], *, cpu_ram_bytes: int = 0, may_shrink: bool = True) -> list[str]:
    """What would start it now, the smallest change first; empty where nothing small would.

    A model that is served or evaluated does not shrink with what it is given: `may_shrink` False names no smaller need.
    """
    smaller = [*_less_memory(need, hosts), *_fewer_gpus(need, hosts)] if may_shrink else []
    return [*smaller, *_elsewhere(need, hosts, cpu_ram_bytes), *_with_an_environment(need, hosts)]


def _less_memory(need: Need, hosts: Sequence[HostOffer]) -> Iterator[str]:
    if not need.gpus or not need.vram_bytes:
        return
    shares = [share for host in hosts if not host.blocked and need.host in (None, host.name)
              if (share := _largest_share(host, need.gpus))]  # fmt: skip
    room = min(max(shares, default=0), need.vram_bytes - 1) // (GIB // 10) * (GIB // 10)
    if room <= 0:
        return
    answer = find_place(replace(need, vram_bytes=room), hosts)
    if answer is not None:
        yield f"Starts now on {answer.host} with at most {gib(room)} on each GPU."


def _largest_share(host: HostOffer, gpus: int) -> int:
    """What the `gpus` freest GPUs of the host have free at least, each."""
    free = sorted((device.total_bytes * device.free_slots // device.slots for device in host.devices), reverse=True)
    return free[gpus - 1] if len(free) >= gpus else 0


def _fewer_gpus(need: Need, hosts: Sequence[HostOffer]) -> Iterator[str]:
    """With the same memory in all, spread over fewer."""
    for gpus in range(need.gpus - 1, 0, -1):
        vram_bytes = -(-need.vram_bytes * need.gpus // gpus)
        answer = find_place(replace(need, gpus=gpus, vram_bytes=vram_bytes), hosts)
        if answer is not None:
            each = f" of {gib(vram_bytes)}" if vram_bytes else ""
            yield f"Starts now on {answer.host} with {gpu_count(gpus)}{each}."
            return


def _elsewhere(need: Need, hosts: Sequence[HostOffer], cpu_ram_bytes: int) -> Iterator[str]:
    if need.host is not None:
        answer = find_place(replace(need, host=None), hosts)
        if answer is not None:
            yield f"It may run only on {need.host}; {answer.host} has room now."
    for host in hosts:
        if host.blocked.startswith("is cordoned") and need.host in (None, host.name) and has_room(need, host):
            yield f"Starts now once {host.name} is uncordoned: it {host.blocked}."
            break
    if need.gpus and cpu_ram_bytes:
        environment = (need.environment[0], "cpu") if need.environment else None
        answer = find_place(Need(ram_bytes=cpu_ram_bytes, host=need.host, environment=environment), hosts)
        if answer is not None:
            yield f"Starts now on the CPU of {answer.host}."


def _with_an_environment(need: Need, hosts: Sequence[HostOffer]) -> Iterator[str]:
    """The first host with room on which only the engine does not run, where others are merely full."""
    takes = [host for host in hosts if not host.blocked and need.host in (None, host.name)]
    if all(why_not_run(need, host) for host in takes):
        return
    for host in takes:
        if (why := why_not_run(need, host)) and has_room(replace(need, environment=None), host):
            yield f"{host.name} has room, but: {why}."
            return


@dataclass(frozen=True, slots=True)
class HostAnswer:
    """One line of "Why is it waiting?"."""

    host: str
    offers: str
    needs: str  # beside what the largest device there has
    blocked_by: str
    can_ever: bool
    start: Start | None  # None: never


def host_answers(need: Need, hosts: Sequence[HostOffer], timeline: FleetTimeline) -> list[HostAnswer]:
    """What each host says to the job, those that free first at the top."""
    answers = [_answer(need, host, timeline) for host in hosts]
    return sorted(answers, key=lambda each: (each.start.at if each.start else float("inf"), each.host))


def _answer(need: Need, host: HostOffer, timeline: FleetTimeline) -> HostAnswer:
    start = None
    if not host.blocked and need.host in (None, host.name):
        start = timeline.hosts[host.name].earliest(need)
    return HostAnswer(
        host.name, offered(need, host), needed(need, host), _blocked_by(need, host, start), start is not None, start
    )


def offered(need: Need, host: HostOffer) -> str:
    """ "8 × H100, 0 free", or the RAM for a job on the CPU."""
    if not need.gpus:
        return f"{gib(host.total_ram_bytes)} of RAM, {gib(host.free_ram_bytes)} free"
    if not host.devices:
        return "no GPU"
    names = list(dict.fromkeys(device.name or "GPU" for device in host.devices))
    free = sum(device.free_slots == device.slots for device in host.devices)
    kinds = ", ".join(f"{sum((d.name or 'GPU') == name for d in host.devices)} × {name}" for name in names)
    return f"{kinds}, {free} free"


def needed(need: Need, host: HostOffer) -> str:
    """ "2 × 60.0 of 80.0 GiB"; without a size the GPUs are whole ones."""
    if not need.gpus:
        return f"{need.ram_bytes / GIB:.1f} of {gib(host.total_ram_bytes)}"
    if not need.vram_bytes:
        return f"{need.gpus} whole"
    largest = max((device.total_bytes for device in host.devices), default=0)
    return f"{need.gpus} × {need.vram_bytes / GIB:.1f} of {gib(largest)}"


def _blocked_by(need: Need, host: HostOffer, start: Start | None) -> str:
    if host.blocked:
        return host.blocked
    if need.host not in (None, host.name):
        return f"the job may run only on {need.host}"
    if why := why_not_run(need, host):
        return why
    if start is None:
        return _too_small(need, host)
    if start.after:
        return f"waits for the end of {', '.join(start.after[:3])}" + (" and others" if len(start.after) > 3 else "")
    return "nothing: it is free"


def _too_small(need: Need, host: HostOffer) -> str:
    if len(host.devices) < need.gpus:
        return f"has {gpu_count(len(host.devices))}, the job needs {need.gpus}"
    if need.gpus:
        fitting = free_gpu_count(
            need, replace(host, devices=tuple(replace(d, free_slots=d.slots) for d in host.devices))
        )
        return f"too small: {fitting} of its GPUs have {gib(need.vram_bytes)}, the job needs {need.gpus}"
    return f"too small: {gib(host.total_ram_bytes)} of RAM in all"


def soonest(need: Need, start: Start | None, clock: str) -> str:
    """ "atlas frees 2 × 80.0 GiB at about 15:40 when job-418 ends"; empty where nobody can say."""
    if start is None or not start.after or not start.is_known:
        return ""
    what = wanted_gpus(need) if need.gpus else f"{gib(need.ram_bytes)} of RAM"
    whose = " and ".join(start.after[:2]) + (" and others" if len(start.after) > 2 else "")
    return f"{start.host} frees {what} at about {clock} when {whose} end{'s' if len(start.after) == 1 else ''}."
