"""Taking and giving back devices and ports. Only the scheduler takes; only confirmed death gives back."""

from __future__ import annotations

import contextlib
import uuid

from django.db import transaction
from django.db.models import Sum
from django.utils import timezone

from apps.fleet.models import Device, Host, PortLease, Reservation

FIRST_PORT, LAST_PORT = 18100, 18999


class DeviceTaken(Exception):
    """Somebody else holds a device, or works on its row, since the scheduler looked."""


def reserve_gpus(*, host: Host, slots: dict[int, int], holder: uuid.UUID) -> None:
    """So many slots of each GPU, named by index: all of them, or DeviceTaken.

    Rows that another scheduler works on are skipped, not waited for. That a slot has one holder is the
    database's word: it raises IntegrityError.
    """
    rows = Device.objects.select_for_update(skip_locked=True, no_key=True).filter(
        host=host, kind=Device.Kind.GPU, index__in=slots, is_present=True
    )
    gpus = list(rows.order_by("pk"))
    if len(gpus) < len(slots):
        raise DeviceTaken(f"a GPU of {host.name} is taken")
    live = Reservation.objects.filter(device__in=gpus, released_at=None).values_list("device_id", "slot")
    taken = set(live)
    wanted = []
    for gpu in gpus:
        free = [slot for slot in range(gpu.slots) if (gpu.pk, slot) not in taken]
        if len(free) < slots[gpu.index]:
            raise DeviceTaken(f"{gpu} is taken")
        wanted += [_reservation(gpu, slot, holder) for slot in free[: slots[gpu.index]]]
    Reservation.objects.bulk_create(wanted)


def _reservation(gpu: Device, slot: int, holder: uuid.UUID) -> Reservation:
    return Reservation(device=gpu, slot=slot, holder=holder, gpu_slots=gpu.slots)


def free_ram_bytes(device: Device) -> int:
    held = device.reservations.filter(released_at=None).aggregate(total=Sum("ram_bytes"))["total"] or 0
    return device.capacity_bytes - int(held)


def reserve_ram(*, host: Host, ram_bytes: int, holder: uuid.UUID) -> None:
    """A share of the CPU device, on its lowest free slot, under its row lock. Raises DeviceTaken without room."""
    rows = Device.objects.select_for_update(of=("self",), no_key=True)  # its usual order would lock the host too
    device = rows.filter(host=host, kind=Device.Kind.CPU).first()
    if device is None or free_ram_bytes(device) < ram_bytes:
        raise DeviceTaken(f"the RAM of {host.name} is taken")
    taken = set(device.reservations.filter(released_at=None).values_list("slot", flat=True))
    slot = next(number for number in range(len(taken) + 1) if number not in taken)
    Reservation.objects.create(device=device, slot=slot, holder=holder, ram_bytes=ram_bytes)


def hold_devices(*, host: Host, devices: list[int], ram_bytes: int, holder: uuid.UUID) -> None:
    """Keeps from others what a process already uses: whatever of it nobody else holds. Again changes nothing."""
    mine = Reservation.objects.filter(holder=holder, released_at=None)
    rows = Device.objects.select_for_update(no_key=True)  # so that no slot is added beside it
    gpus = rows.filter(host=host, kind=Device.Kind.GPU, index__in=devices, is_present=True).order_by("pk")
    slots = [_reservation(gpu, slot, holder) for gpu in gpus for slot in range(gpu.slots)]
    Reservation.objects.bulk_create(slots, ignore_conflicts=True)
    if ram_bytes and not devices and not mine.exists():
        with contextlib.suppress(DeviceTaken), transaction.atomic():
            reserve_ram(host=host, ram_bytes=ram_bytes, holder=holder)


class NoFreePort(Exception):
    """Every port of the host's range is leased; the message is what a waiting job shows."""


def lease_port(*, host: Host, holder: uuid.UUID) -> int:
    """The next free port after the one leased last, so that whoever met a taken one gets another.

    Raises NoFreePort when all 900 of the host's range are leased.
    """
    leases = PortLease.objects.filter(host=host)
    taken = set(leases.filter(released_at=None).values_list("port", flat=True))
    newest = leases.order_by("-pk").first()
    last: int = newest.port if newest else LAST_PORT
    in_turn: list[int] = [*range(last + 1, LAST_PORT + 1), *range(FIRST_PORT, last + 1)]
    for port in in_turn:
        if port not in taken:
            PortLease.objects.create(host=host, port=port, holder=holder)
            return port
    raise NoFreePort(f"Waits for a port; {host.name} has none free between {FIRST_PORT} and {LAST_PORT}.")


def release_all(*, holder: uuid.UUID) -> None:
    """Gives back everything an attempt held; call only when all of its processes are gone."""
    now = timezone.now()
    Reservation.objects.filter(holder=holder, released_at=None).update(released_at=now)
    PortLease.objects.filter(holder=holder, released_at=None).update(released_at=now)
