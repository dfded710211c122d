"""What the Hardware page says above its rows."""

from __future__ import annotations

from typing import Any

from django.conf import settings

from apps.accounts.models import User
from apps.dashboard.fleet_picture import HostPicture, Well, fleet_picture
from apps.dashboard.hardware_table import FILTERS, counted_filters, groups_of, paged
from apps.dashboard.queue_pressure import Waiting, waiting_by_need
from apps.dashboard.words import count_of, gib, gpu_name, listed
from apps.fleet.models import RAM_KEPT_BYTES, Device, Host
from apps.fleet.querysets import open_alerts, reconcile_hold
from apps.jobs.reconciling import held_rows


def hardware_facts(user: User, *, show: str = "all", asked: str = "", page: int = 1) -> dict[str, Any]:
    """The template's context. An unknown filter shows everything."""
    hosts = fleet_picture(user)
    queue = waiting_by_need()
    show = show if show in FILTERS else "all"
    groups, pages = paged(groups_of(hosts, show=show, asked=asked), page)
    return {
        "hosts": hosts,
        "alerts": open_alerts(),
        "hold": reconcile_hold(),
        "held": held_rows(),
        "currency": settings.CURRENCY,
        "headline": headline(members(hosts)),
        "lede": lede(members(hosts), queue),
        "groups": groups,
        "pages": pages,
        "page": min(max(page, 1), len(pages)),
        "filters": counted_filters(hosts),
        "show": show,
        "asked": asked,
        "queue": queue,
        "waiting_count": sum(row.count for row in queue),
        **load_figures(hosts),
    }


def members(hosts: list[HostPicture]) -> list[HostPicture]:
    """Without those that are fenced or have left: no headline counts or misses them."""
    return [host for host in hosts if not host.host.state.is_gone]


def headline(hosts: list[HostPicture]) -> str:
    """What is free, in words."""
    if not hosts:
        return "No host is connected"
    ready = [host for host in hosts if host.state == "Schedulable"]
    if not ready:
        return "No host can take work now"
    gpus = [well for host in ready for well in host.gpus]
    free = [gpu_name(well.device.name) for well in gpus if well.is_free]
    if free:
        kinds = [f"{free.count(name)} {name}" for name in dict.fromkeys(free)]
        return f"{count_of(len(free), 'GPU')} free: {', '.join(kinds)}"
    if gpus:
        return f"All {count_of(len(gpus), 'GPU')} are in use" if len(gpus) > 1 else "The GPU is in use"
    return f"{gib(sum(well.free_bytes for host in ready for well in host.wells))} of memory free on {_hosts(ready)}"


def _hosts(hosts: list[HostPicture]) -> str:
    return hosts[0].host.name if len(hosts) == 1 else count_of(len(hosts), "host")


def lede(hosts: list[HostPicture], queue: list[Waiting]) -> str:
    silent = [host.host.name for host in hosts if host.state == "Unreachable"]
    parts = []
    if silent:
        verb = "does not report" if len(silent) == 1 else "do not report"
        parts.append(f"{listed(silent)} {verb}; jobs there may still run.")
    parts += [_set_aside(host.host) for host in hosts if host.state in ("Cordoned", "Draining")][:3]
    if hosts and not any(host.gpus for host in hosts):
        kept = gib(RAM_KEPT_BYTES)
        parts.append(f"No host has a GPU, so engines run on the CPU and share its memory, less {kept} for the system.")
    if queue:
        count = sum(row.count for row in queue)
        needs = listed([f"{row.count} for {row.need}" for row in queue[:3]])
        parts.append(f"{count_of(count, 'job')} {'waits' if count == 1 else 'wait'}: {needs}.")
    return " ".join(parts)


def _set_aside(host: Host) -> str:
    why = f": {host.cordon_reason}" if host.cordon_reason else ""
    return f"{host.name} {'is being drained' if host.is_draining else 'takes no new work'}{why}."


def load_figures(hosts: list[HostPicture]) -> dict[str, Any]:
    """Sums over hosts that report; None where nothing was measured."""
    live = [host for host in members(hosts) if not host.host.is_silent]
    samples = [host.sample for host in live if host.sample]
    wells = [well for host in live for well in host.wells]
    gpus = [well for well in wells if well.device.kind == Device.Kind.GPU]
    cpus = [well for well in wells if well.device.kind == Device.Kind.CPU]
    return {
        "host_count": len(members(hosts)),
        "ready_count": sum(host.state == "Schedulable" for host in hosts),
        "gpu_count": len(gpus),
        "gpu_busy_count": sum(bool(well.holders) for well in gpus),
        "gpu_load_percent": _mean([well.load_percent for well in gpus if well.holders]),
        "cpu_load_percent": _mean([well.load_percent for well in cpus]),
        "held_bytes": sum(well.used_bytes for well in gpus or cpus),
        "capacity_bytes": sum(well.device.memory_bytes for well in gpus or cpus),
        "ram_used_bytes": sum(sample.ram_used_bytes for sample in samples) if samples else None,
        "ram_bytes": sum(host.host.ram_bytes for host in live),
        "disk_free_bytes": sum(host.host.disk_free_bytes for host in live),
        "disk_bytes": sum(host.host.disk_total_bytes for host in live),
        "power_w": _sum(gpus, "power_w"),
        "power_limit_w": sum(well.device.power_limit_w or 0 for well in gpus),
        "hottest": max((well for well in gpus if well.load.get("temperature_c")), key=_heat, default=None),
    }


def _heat(well: Well) -> float:
    return float(well.load["temperature_c"])


def _sum(wells: list[Well], name: str) -> float | None:
    values = [float(well.load[name]) for well in wells if well.load.get(name) is not None]
    return sum(values) if values else None


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
