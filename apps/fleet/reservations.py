"""Taking and giving back devices and ports. Only the scheduler takes; only confirmed death gives back."""

from __future__ import annotations

import uuid

from django.db.models import Sum
from django.utils import timezone

from apps.fleet.models import Device, Host, PortLease, Reservation

FIRST_PORT, LAST_PORT = 18100, 18999


def free_gpus(host: Host) -> list[Device]:
    """GPUs of a host without a live reservation, locked until the transaction ends."""
    gpus = host.devices.select_for_update().filter(kind=Device.Kind.GPU, is_present=True).order_by("index")
    held = Reservation.objects.filter(device__host=host, released_at=None).values_list("device_id", flat=True)
    taken = set(held)
    return [gpu for gpu in gpus if gpu.pk not in taken]


def free_ram_bytes(device: Device) -> int:
    held = device.reservations.filter(released_at=None).aggregate(total=Sum("ram_bytes"))["total"] or 0
    return device.capacity_bytes - int(held)


def reserve_gpus(*, devices: list[Device], holder: uuid.UUID) -> None:
    """Raises IntegrityError where somebody else holds one: the database decides, not this code."""
    Reservation.objects.bulk_create([Reservation(device=device, slot=0, holder=holder) for device in devices])


def reserve_ram(*, device: Device, ram_bytes: int, holder: uuid.UUID) -> None:
    """A share of the CPU device, on its lowest free slot. The caller holds the device's row lock."""
    taken = set(device.reservations.filter(released_at=None).values_list("slot", flat=True))
    slot = next(number for number in range(len(taken) + 1) if number not in taken)
    Reservation.objects.create(device=device, slot=slot, holder=holder, ram_bytes=ram_bytes)


class NoFreePort(Exception):
    """Every port of the host's range is leased; the message is what a waiting job shows."""


def lease_port(*, host: Host, holder: uuid.UUID) -> int:
    """The lowest free port of the host's range. Raises NoFreePort when all 900 are taken."""
    taken = set(PortLease.objects.filter(host=host, released_at=None).values_list("port", flat=True))
    for port in range(FIRST_PORT, LAST_PORT + 1):
        if port not in taken:
            PortLease.objects.create(host=host, port=port, holder=holder)
            return port
    raise NoFreePort(f"Waits for a port; {host.name} has none free between {FIRST_PORT} and {LAST_PORT}.")


def release_all(*, holder: uuid.UUID) -> None:
    """Gives back everything an attempt held; call only when all of its processes are gone."""
    now = timezone.now()
    Reservation.objects.filter(holder=holder, released_at=None).update(released_at=now)
    PortLease.objects.filter(holder=holder, released_at=None).update(released_at=now)
