"""Who holds what: the database decides, and nothing is given back before its holder is dead."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.db import IntegrityError, transaction

from apps.fleet import reservations
from apps.fleet.models import RAM_KEPT_BYTES, Device, PortLease, Reservation
from apps.fleet.offers import fleet_now
from apps.fleet.reservations import FIRST_PORT, LAST_PORT, DeviceTaken, reserve_gpus
from tests.factories import GIB, make_host

pytestmark = pytest.mark.django_db


def test_a_gpu_has_one_holder_until_that_one_lets_go() -> None:
    host = make_host(gpus=2)
    holder = uuid4()
    reserve_gpus(host=host, slots={0: 1}, holder=holder)
    with pytest.raises(DeviceTaken), transaction.atomic():
        reserve_gpus(host=host, slots={1: 1, 0: 1}, holder=uuid4())
    assert Reservation.objects.filter(released_at=None).count() == 1, "all devices of a wish or none"
    reservations.release_all(holder=uuid4())
    assert [device.free_slots for device in fleet_now().hosts[0].devices] == [0, 1]
    reservations.release_all(holder=holder)
    reserve_gpus(host=host, slots={0: 1, 1: 1}, holder=uuid4())


def test_a_gpu_of_several_slots_has_as_many_holders() -> None:
    host = make_host(gpus=1)
    host.devices.filter(kind="gpu").update(slots=2)
    first = uuid4()
    reserve_gpus(host=host, slots={0: 1}, holder=first)
    reserve_gpus(host=host, slots={0: 1}, holder=uuid4())
    with pytest.raises(DeviceTaken), transaction.atomic():
        reserve_gpus(host=host, slots={0: 1}, holder=uuid4())
    assert fleet_now().holders[first].slots == {0: 1}
    assert fleet_now().hosts[0].devices[0].free_slots == 0


def test_an_absent_gpu_is_not_free() -> None:
    host = make_host(gpus=1)
    host.devices.filter(kind="gpu").update(is_present=False)
    assert fleet_now().hosts[0].devices == ()
    with pytest.raises(DeviceTaken), transaction.atomic():
        reserve_gpus(host=host, slots={0: 1}, holder=uuid4())


def test_the_cpu_is_shared_by_ram() -> None:
    host = make_host(ram_gib=16)
    cpu = host.devices.get(kind=Device.Kind.CPU)
    whole = 16 * GIB - RAM_KEPT_BYTES
    assert reservations.free_ram_bytes(cpu) == whole
    holders = [uuid4() for _ in range(3)]
    for holder in holders:
        reservations.reserve_ram(host=host, ram_bytes=GIB, holder=holder)
    assert reservations.free_ram_bytes(cpu) == whole - 3 * GIB == fleet_now().hosts[0].free_ram_bytes
    reservations.release_all(holder=holders[1])
    reservations.reserve_ram(host=host, ram_bytes=4 * GIB, holder=uuid4())
    live = Reservation.objects.filter(released_at=None).order_by("slot")
    assert [(row.slot, row.ram_bytes // GIB) for row in live] == [(0, 1), (1, 4), (2, 1)]
    with pytest.raises(DeviceTaken), transaction.atomic():
        reservations.reserve_ram(host=host, ram_bytes=9 * GIB, holder=uuid4())
    with pytest.raises(IntegrityError, match="one_live_reservation_per_slot"), transaction.atomic():
        Reservation.objects.create(device=cpu, slot=1, holder=uuid4(), ram_bytes=GIB)


def test_ports_are_leased_in_turn_and_run_out() -> None:
    host, other = make_host(), make_host()
    holders = [uuid4() for _ in range(3)]
    assert [reservations.lease_port(host=host, holder=holder) for holder in holders] == [18100, 18101, 18102]
    assert reservations.lease_port(host=other, holder=uuid4()) == FIRST_PORT
    reservations.release_all(holder=holders[1])
    with pytest.raises(IntegrityError, match="one_live_lease_per_port"), transaction.atomic():
        PortLease.objects.create(host=host, port=18102, holder=uuid4())
    assert reservations.lease_port(host=host, holder=uuid4()) == 18103  # whoever met a taken 18101 gets another
    PortLease.objects.bulk_create(
        PortLease(host=host, port=port, holder=uuid4()) for port in range(18104, LAST_PORT + 1)
    )
    assert reservations.lease_port(host=host, holder=uuid4()) == 18101
    with pytest.raises(reservations.NoFreePort, match=f"{host.name} has none free"):
        reservations.lease_port(host=host, holder=uuid4())
