"""R17 as a state machine: a pure model of who holds which slot, port and byte, against the rows and constraints.

Racing schedulers come as what a race lets through: takes that never looked. Each example is one transaction that is
undone in the end.
"""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from django.db import IntegrityError, transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule, run_state_machine_as_test

from apps.fleet.models import RAM_KEPT_BYTES, Device, PortLease, Reservation
from apps.fleet.offers import fleet_now
from apps.fleet.reservations import FIRST_PORT, DeviceTaken, lease_port, release_all, reserve_gpus, reserve_ram
from tests.factories import GIB, make_host

HOSTS, GPUS, SLOTS, RAM_GIB = ("atlas", "brio"), 4, (1, 1, 1, 2), 16
hosts = st.sampled_from(HOSTS)
wishes = st.dictionaries(st.integers(0, GPUS - 1), st.integers(1, 2), min_size=1, max_size=GPUS)


class Reservations(RuleBasedStateMachine):
    """`slots`, `ram` and `ports` are the model; every rule foretells what the database must answer."""

    holders: Bundle[UUID] = Bundle("holders")

    def __init__(self) -> None:
        super().__init__()
        self.transaction = transaction.atomic()
        self.transaction.__enter__()
        self.hosts = {name: make_host(name, gpus=GPUS, ram_gib=RAM_GIB) for name in HOSTS}
        for host in self.hosts.values():
            for index, slots in enumerate(SLOTS):
                host.devices.filter(kind="gpu", index=index).update(slots=slots)
        self.absent: set[tuple[str, int]] = set()
        self.slots: dict[tuple[str, int, int], UUID] = {}
        self.ram: list[tuple[str, int, UUID]] = []
        self.ports: dict[tuple[str, int], UUID] = {}

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.transaction.__exit__(None, None, None)

    def free(self, host: str, index: int) -> list[int]:
        if (host, index) in self.absent:
            return []
        return [slot for slot in range(SLOTS[index]) if (host, index, slot) not in self.slots]

    @rule(target=holders, host=hosts, wish=wishes)
    def reserve(self, host: str, wish: dict[int, int]) -> UUID:
        """All of a wish or nothing of it, on the lowest free slots."""
        holder = uuid4()
        fits = all(len(self.free(host, index)) >= count for index, count in wish.items())
        try:
            with transaction.atomic():
                reserve_gpus(host=self.hosts[host], slots=wish, holder=holder)
        except DeviceTaken:
            assert not fits
            return holder
        assert fits
        for index, count in wish.items():
            self.slots |= {(host, index, slot): holder for slot in self.free(host, index)[:count]}
        return holder

    @rule(target=holders, host=hosts, index=st.integers(0, GPUS - 1), slot=st.integers(0, 1))
    def take_without_looking(self, host: str, index: int, slot: int) -> UUID:
        """What two schedulers do that saw the same free slot: the constraint alone lets one of them in."""
        holder, slot = uuid4(), slot % SLOTS[index]
        device = Device.objects.get(host=self.hosts[host], kind="gpu", index=index)
        try:
            with transaction.atomic():
                Reservation.objects.create(device=device, slot=slot, holder=holder)
        except IntegrityError:
            assert (host, index, slot) in self.slots
            return holder
        assert (host, index, slot) not in self.slots
        self.slots[host, index, slot] = holder
        return holder

    @rule(target=holders, host=hosts, gib=st.integers(1, 9))
    def reserve_memory(self, host: str, gib: int) -> UUID:
        holder = uuid4()
        room = RAM_GIB * GIB - RAM_KEPT_BYTES - sum(size for name, size, _ in self.ram if name == host)
        try:
            with transaction.atomic():
                reserve_ram(host=self.hosts[host], ram_bytes=gib * GIB, holder=holder)
        except DeviceTaken:
            assert gib * GIB > room
            return holder
        assert gib * GIB <= room
        self.ram.append((host, gib * GIB, holder))
        return holder

    @rule(host=hosts, holder=holders)
    def lease(self, host: str, holder: UUID) -> None:
        port = lease_port(host=self.hosts[host], holder=holder)
        assert (host, port) not in self.ports
        self.ports[host, port] = holder

    @rule(host=hosts, holder=holders, number=st.integers(0, 5))
    def lease_without_looking(self, host: str, holder: UUID, number: int) -> None:
        port = FIRST_PORT + number
        try:
            with transaction.atomic():
                PortLease.objects.create(host=self.hosts[host], port=port, holder=holder)
        except IntegrityError:
            assert (host, port) in self.ports
            return
        assert (host, port) not in self.ports
        self.ports[host, port] = holder

    @rule(holder=consumes(holders))
    def die(self, holder: UUID) -> None:
        release_all(holder=holder)
        self.slots = {key: each for key, each in self.slots.items() if each != holder}
        self.ram = [each for each in self.ram if each[2] != holder]
        self.ports = {key: each for key, each in self.ports.items() if each != holder}

    @rule(host=hosts, index=st.integers(0, GPUS - 1))
    def vanish_or_return(self, host: str, index: int) -> None:
        """A GPU that is gone keeps its holder: only that one's death frees it."""
        self.absent ^= {(host, index)}
        Device.objects.filter(host=self.hosts[host], kind="gpu", index=index).update(
            is_present=(host, index) not in self.absent
        )

    @invariant()
    def the_rows_are_the_model(self) -> None:
        live = list(Reservation.objects.filter(released_at=None).select_related("device__host"))
        gpus = [row for row in live if row.device.kind == "gpu"]
        rows = {(row.device.host.name, row.device.index, row.slot): row.holder for row in gpus}
        assert (rows, len(gpus)) == (self.slots, len(self.slots))
        ram = [(row.device.host.name, row.ram_bytes, row.holder) for row in live if row.device.kind == "cpu"]
        assert sorted(ram) == sorted(self.ram)
        leases = PortLease.objects.filter(released_at=None).select_related("host")
        assert {(row.host.name, row.port): row.holder for row in leases} == self.ports

    @invariant()
    def the_schedulers_picture_is_the_model(self) -> None:
        for host in fleet_now().hosts:
            offered = {device.index: device.free_slots for device in host.devices}
            present = [index for index in range(GPUS) if (host.name, index) not in self.absent]
            assert offered == {index: self.offered(host.name, index) for index in present}

    def offered(self, host: str, index: int) -> int:
        return SLOTS[index] - sum((name, at) == (host, index) for name, at, _ in self.slots)


def run_machine(examples: int, steps: int) -> None:
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    run_state_machine_as_test(
        Reservations,
        settings=settings(
            max_examples=examples, stateful_step_count=steps, deadline=None, database=None, suppress_health_check=checks
        ),
    )


@pytest.mark.django_db
def test_r17_the_database_holds_what_the_model_says() -> None:
    run_machine(examples=12, steps=30)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.django_db
def test_r17_the_database_holds_what_the_model_says_for_long() -> None:
    run_machine(examples=1500, steps=60)
