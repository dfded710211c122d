"""What the Hardware page says above its rows."""

from __future__ import annotations

from typing import Any

from apps.accounts.models import User
from apps.dashboard.fleet_picture import HostPicture, Well, fleet_picture
from apps.dashboard.words import count_of, gib, listed
from apps.fleet.models import Device


def hardware_facts(user: User) -> dict[str, Any]:
    hosts = fleet_picture(user)
    return {
        "hosts": hosts,
        "headline": headline(hosts),
        "lede": lede(hosts),
        "environments": [
            {"host_name": host.host.name, "engine": row.engine, "variant": row.variant}
            | {"size_bytes": row.size_bytes, "path": row.path}
            for host in hosts
            for row in host.host.environments.all()
        ],
        **load_figures(hosts),
    }


def headline(hosts: list[HostPicture]) -> str:
    """What is free, in words."""
    if not hosts:
        return "No host is connected"
    ready = [host for host in hosts if host.state == "Schedulable"]
    if not ready:
        return "No host can take work now"
    gpus = [well for host in ready for well in host.gpus]
    free = [well.device.name for well in gpus if well.is_free]
    if free:
        kinds = [f"{free.count(name)} {name}" for name in dict.fromkeys(free)]
        return f"{count_of(len(free), 'GPU')} free: {', '.join(kinds)}"
    if gpus:
        return f"All {count_of(len(gpus), 'GPU')} are in use" if len(gpus) > 1 else "The GPU is in use"
    return f"{gib(sum(well.free_bytes for host in ready for well in host.wells))} of memory free on {_hosts(ready)}"


def _hosts(hosts: list[HostPicture]) -> str:
    return hosts[0].host.name if len(hosts) == 1 else count_of(len(hosts), "host")


def lede(hosts: list[HostPicture]) -> str:
    silent = [host.host.name for host in hosts if host.state == "Unreachable"]
    cordoned = [host.host.name for host in hosts if host.state == "Cordoned"]
    parts = []
    if silent:
        verb = "does not report" if len(silent) == 1 else "do not report"
        parts.append(f"{listed(silent)} {verb}; jobs there may still run.")
    if cordoned:
        parts.append(f"{listed(cordoned)} {'takes' if len(cordoned) == 1 else 'take'} no new work.")
    if hosts and not any(host.gpus for host in hosts):
        parts.append("No host has a GPU, so engines run on the CPU and share its memory.")
    return " ".join(parts)


def load_figures(hosts: list[HostPicture]) -> dict[str, Any]:
    """Sums over hosts that report; None where nothing was measured."""
    live = [host for host in hosts if host.state != "Unreachable"]
    samples = [host.sample for host in live if host.sample]
    wells = [well for host in live for well in host.wells]
    gpus = [well for well in wells if well.device.kind == Device.Kind.GPU]
    cpus = [well for well in wells if well.device.kind == Device.Kind.CPU]
    return {
        "host_count": len(hosts),
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
