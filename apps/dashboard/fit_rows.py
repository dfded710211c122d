"""The rows of a model's fit table: each fit with the hosts that can take it, and what was measured of it here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from apps.accounts.models import User
from apps.catalog.fit import DeviceClass, Fit, product_title
from apps.catalog.models import ModelVersion
from apps.catalog.placement import needed_files
from apps.dashboard.measured_here import Measured, measured_here
from apps.fleet.local_host import local_host
from apps.fleet.models import Device, Host
from apps.fleet.querysets import fleet_devices
from apps.jobs.chances import fleet_timeline
from apps.jobs.kinds import CannotPrepare
from apps.planning.gpu_memory import usable_of
from apps.serving.starts import Files, HostStart, files_of, host_starts


@dataclass(frozen=True)
class FitRow:
    """`starts`: soonest first, and empty where it does not fit or no host takes work.

    `is_out_of_reach`: only hosts that the gateway cannot reach have such a device.
    """

    fit: Fit
    starts: list[HostStart]
    measured: Measured | None
    is_out_of_reach: bool


def fit_rows(user: User, version: ModelVersion, fits: Sequence[Fit]) -> list[FitRow]:
    """With a fixed number of queries, however many rows there are."""
    if not fits:
        return []
    timeline, hosts, files = fleet_timeline(), _hosts_by_class(), _files(version)
    engine = "llama-cpp" if version.is_gguf else "vllm"
    measured, gateway = measured_here(user, [version])[version.pk], local_host()
    rows = []
    for fit in fits:
        having = hosts[_class_key(fit.device)]
        reached = [name for name in having if gateway is None or name == gateway.name]  # as an endpoint is placed
        starts = host_starts(timeline, fit.need, reached, files=files, engine=engine) if fit.fits else []
        known = measured.get((fit.device.title, fit.count, fit.is_made_at_load))
        rows.append(FitRow(fit, starts, known, is_out_of_reach=bool(having and not reached)))
    return rows


def _class_key(device: DeviceClass) -> tuple[str, int]:
    return (device.title, device.memory_bytes if device.kind == "gpu" else 0)


def _hosts_by_class() -> dict[tuple[str, int], list[str]]:
    """Device class -> hosts that have one; every host has a CPU. Only those that still belong to the fleet."""
    found: dict[tuple[str, int], set[str]] = defaultdict(set)
    gpus = fleet_devices(Device.Kind.GPU)
    for name, driver_bytes, host in gpus.order_by().values_list("name", "memory_bytes", "host__name"):
        found[product_title(name), usable_of(name, driver_bytes)].add(host)
    hosts = Host.objects.filter(left_at=None, fenced_at=None)
    found["CPU", 0].update(hosts.order_by().values_list("name", flat=True))
    return defaultdict(list, {key: sorted(names) for key, names in found.items()})


def _files(version: ModelVersion) -> Files | None:
    try:
        return files_of(needed_files(version).artifacts())
    except CannotPrepare:
        return None
