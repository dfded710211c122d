"""Reads of the fleet, each in a fixed number of queries."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import Prefetch, QuerySet

from apps.fleet.models import Device, FleetAlert, Host, HostLoad, Reservation


def hosts_with_devices(*, only: Host | None = None) -> list[Host]:
    """Every host by name (or one alone), with its present devices and installed environments."""
    devices = Device.objects.filter(is_present=True).order_by("kind", "index")
    hosts = Host.objects.filter(pk=only.pk) if only else Host.objects.all()
    return list(hosts.order_by("name").prefetch_related(Prefetch("devices", devices), "environments"))


def open_alerts() -> list[FleetAlert]:
    return list(FleetAlert.objects.filter(closed_at=None).order_by("opened_at"))


def reconcile_hold() -> FleetAlert | None:
    """Open from a restored backup until an admin ends it: what hosts run that is unknown here runs on."""
    return FleetAlert.objects.filter(kind=FleetAlert.Kind.RESTORED, closed_at=None).first()


def fleet_devices(kind: str, *, only: Host | None = None) -> QuerySet[Device]:
    """The present devices of that kind: of the hosts that still belong to the fleet, or of one alone."""
    devices = Device.objects.filter(kind=kind, is_present=True, host__removed_at=None)
    return devices.filter(host=only) if only else devices.filter(host__left_at=None, host__fenced_at=None)


def largest_device(kind: str, *, only: Host | None = None) -> Device | None:
    """The one with the most memory, with its host."""
    return fleet_devices(kind, only=only).select_related("host").order_by("-memory_bytes").first()


def gpu_sizes(*, only: Host | None = None) -> dict[str, list[int]]:
    """Host -> memory in bytes of each of its present GPUs, largest first; of the hosts that still belong to the fleet,
    or of one alone."""
    hosts = Host.objects.filter(pk=only.pk) if only else Host.objects.filter(left_at=None, fenced_at=None)
    gpus = Device.objects.filter(kind=Device.Kind.GPU, is_present=True).order_by("-memory_bytes")
    rows = hosts.order_by("name").prefetch_related(Prefetch("devices", gpus, to_attr="gpus"))
    return {host.name: [gpu.memory_bytes for gpu in host.gpus] for host in rows}


def latest_samples(hosts: Iterable[Host]) -> dict[int, HostLoad]:
    """The newest telemetry of each host, by the host's primary key."""
    return HostLoad.objects.in_bulk([host.pk for host in hosts])


def live_reservations(*, only: Host | None = None) -> list[Reservation]:
    """Everything that is held now (or of one host alone), in slot order."""
    held = Reservation.objects.filter(released_at=None)
    return list((held.filter(device__host=only) if only else held).order_by("device_id", "slot"))
