"""What attempts cost: times, prices and energy, written again without counting twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from apps.accounts.models import Team
from apps.costs.accrual import accrue_costs
from apps.costs.models import CostEntry
from apps.fleet.models import Host
from apps.fleet.offers import fleet_now
from apps.fleet.reservations import release_all, reserve_gpus
from apps.jobs.models import Attempt
from apps.planning.gpu_types import gpu_type
from apps.planning.placement import Choice, Need, place
from tests.factories import make_attempt, make_host, make_job, make_sample, make_team, make_user

pytestmark = pytest.mark.django_db
TWO_TYPES = ("h100-sxm", "l40s")
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def team() -> Team:
    return make_team()


def h100_host(**fields: Any) -> Host:
    host = make_host(gpus=2, **fields)
    host.devices.filter(kind="gpu").update(gpu_type="h100-sxm")
    return host


def ran(team: Team, host: Host, *, start: datetime, end: datetime | None, gpus: list[int]) -> Attempt:
    fields = {"claimed_at": start, "created_at": start, "ended_at": end, "device_indexes": gpus}
    return make_attempt(make_job(team), host, **fields)


def test_two_gpus_for_an_hour_are_two_hours_at_the_list_price(team: Team) -> None:
    ran(team, h100_host(), start=NOON, end=NOON + timedelta(hours=1), gpus=[0, 1])
    accrue_costs(now=NOON + timedelta(hours=2))
    entry = CostEntry.objects.get()
    assert (entry.device_type, entry.device_seconds, entry.team) == ("h100-sxm", 7200, team)
    assert (entry.cost, entry.currency, entry.energy_joules) == (Decimal("5.9"), "USD", None)


def test_a_running_attempt_grows_and_is_not_counted_twice(team: Team) -> None:
    attempt = ran(team, h100_host(), start=NOON, end=None, gpus=[0])
    for minutes in (10, 20, 20):
        accrue_costs(now=NOON + timedelta(minutes=minutes))
        assert CostEntry.objects.get().device_seconds == minutes * 60
    Attempt.objects.filter(pk=attempt.pk).update(ended_at=NOON + timedelta(minutes=21))
    for minutes in (30, 300):
        accrue_costs(now=NOON + timedelta(minutes=minutes))
    assert CostEntry.objects.get().device_seconds == 21 * 60


def test_midnight_cuts_an_attempt_into_days(team: Team) -> None:
    ran(team, h100_host(), start=NOON, end=NOON + timedelta(hours=36), gpus=[0])
    accrue_costs(now=NOON + timedelta(hours=40))
    days = {entry.day.day: entry.device_seconds / 3600 for entry in CostEntry.objects.all()}
    assert days == {20: 12, 21: 24}


def test_the_operators_price_and_measured_energy_come_before_the_list(team: Team, settings: Any) -> None:
    settings.KWH_PRICE = Decimal("0.30")
    host = h100_host(gpu_hour_price=Decimal("1.00"))
    for second in (0, 5, 10):
        make_sample(host, at=NOON + timedelta(seconds=second))  # 200 W each
    ran(team, host, start=NOON, end=NOON + timedelta(hours=1), gpus=[0, 1])
    accrue_costs(now=NOON + timedelta(hours=2))
    entry = CostEntry.objects.get()
    assert entry.energy_joules == pytest.approx(400 * 15), "only time that samples cover"
    assert entry.cost == Decimal("2.00") + Decimal("0.0005")


def test_without_a_price_the_time_counts_and_the_cost_is_not_known(team: Team, settings: Any) -> None:
    settings.CURRENCY = "EUR"  # list prices are in dollars
    ran(team, h100_host(), start=NOON, end=NOON + timedelta(hours=1), gpus=[0])
    accrue_costs(now=NOON + timedelta(hours=2))
    entry = CostEntry.objects.get()
    assert (entry.device_seconds, entry.hour_price, entry.cost) == (3600, None, None)


def test_a_slot_is_its_share_of_the_gpu_and_the_cpu_has_no_price(team: Team) -> None:
    host = h100_host()
    host.devices.filter(kind="gpu").update(slots=4)
    ran(team, host, start=NOON, end=NOON + timedelta(hours=1), gpus=[0])
    ran(team, host, start=NOON, end=NOON + timedelta(hours=1), gpus=[])
    accrue_costs(now=NOON + timedelta(hours=2))
    assert {(e.device_type, e.device_seconds, e.cost) for e in CostEntry.objects.all()} == {
        ("h100-sxm", 900.0, Decimal("0.7375")),
        ("cpu", 3600.0, None),
    }


def hold(attempt: Attempt, slots: dict[int, int]) -> Attempt:
    reserve_gpus(host=attempt.host, slots=slots, holder=attempt.uuid)
    return attempt


def test_time_and_energy_are_those_of_the_slots_that_were_held(team: Team) -> None:
    host = h100_host()
    host.devices.filter(kind="gpu", index=0).update(slots=4)
    for second in (0, 5, 10):
        make_sample(host, at=NOON + timedelta(seconds=second))  # 200 W each
    end = NOON + timedelta(hours=1)
    three = hold(ran(team, host, start=NOON, end=end, gpus=[0]), {0: 3})
    both = hold(ran(team, host, start=NOON, end=end, gpus=[0, 1]), {0: 1, 1: 1})
    release_all(holder=three.uuid)
    accrue_costs(now=NOON + timedelta(hours=2))
    entries = {entry.attempt_id: entry for entry in CostEntry.objects.all()}
    assert entries[three.uuid].device_seconds == 0.75 * 3600
    assert entries[three.uuid].energy_joules == pytest.approx(0.75 * 200 * 15)
    assert entries[both.uuid].device_seconds == 1.25 * 3600
    assert entries[both.uuid].energy_joules == pytest.approx(1.25 * 200 * 15)


def test_slots_that_change_later_rewrite_no_share(team: Team) -> None:
    host = h100_host()
    attempt = hold(ran(team, host, start=NOON, end=NOON + timedelta(hours=1), gpus=[0]), {0: 1})
    accrue_costs(now=NOON + timedelta(hours=2))
    release_all(holder=attempt.uuid)
    host.devices.filter(kind="gpu").update(slots=4)
    accrue_costs(now=NOON + timedelta(hours=2, minutes=1))
    assert CostEntry.objects.get().device_seconds == 3600


def test_the_energy_of_a_mig_slice_is_its_part_of_the_gpu(team: Team) -> None:
    host = h100_host()
    host.devices.filter(kind="gpu").update(mig_profile="3g.40gb")
    make_sample(host, at=NOON)
    hold(ran(team, host, start=NOON, end=NOON + timedelta(hours=1), gpus=[0]), {0: 1})
    accrue_costs(now=NOON + timedelta(hours=2))
    entry = CostEntry.objects.get()
    assert (entry.device_seconds, entry.energy_joules) == (
        pytest.approx(3600 * 3 / 7), pytest.approx(200 * 5 * 3 / 7)
    )  # fmt: skip


@pytest.mark.parametrize("is_reserved", [True, False])
def test_a_gpu_that_was_replaced_is_charged_only_to_who_had_it(team: Team, is_reserved: bool) -> None:
    host = h100_host()
    end = NOON + timedelta(hours=1)
    before = hold(ran(team, host, start=NOON, end=end, gpus=[0]), {0: 1}) if is_reserved else None
    if before:
        release_all(holder=before.uuid)
    host.devices.filter(index=0, kind="gpu").update(is_present=False)
    new = host.devices.create(kind="gpu", index=0, uuid="GPU-new", name="RTX 4090", gpu_type="l40s")
    after = ran(team, host, start=NOON, end=end, gpus=[0])
    if is_reserved:
        hold(after, {0: 1})
    accrue_costs(now=NOON + timedelta(hours=2))
    types = {entry.attempt_id: (entry.device_type, entry.device_seconds) for entry in CostEntry.objects.all()}
    assert types.pop(after.uuid) == (new.gpu_type, 3600)
    assert list(types.values()) == ([("h100-sxm", 3600)] if before else [])


def test_gpus_of_two_types_are_charged_each_at_its_price(team: Team) -> None:
    """A job that asks for two GPUs gets them on a host that has one of each type."""
    host = h100_host()
    host.devices.filter(kind="gpu", index=1).update(gpu_type="l40s")
    choice = place(Need(gpus=2), fleet_now().hosts)
    assert isinstance(choice, Choice)
    make_sample(host, at=NOON)
    hold(ran(team, host, start=NOON, end=NOON + timedelta(hours=1), gpus=[0, 1]), dict.fromkeys(choice.devices, 1))
    for minutes in (0, 1):
        accrue_costs(now=NOON + timedelta(hours=2, minutes=minutes))
    prices = {name: Decimal(str(known.hour_price)) for name in TWO_TYPES if (known := gpu_type(name))}
    assert {(e.device_type, e.device_seconds, e.energy_joules, e.cost) for e in CostEntry.objects.all()} == {
        (name, 3600, 200 * 5, prices[name]) for name in TWO_TYPES
    }


def test_a_type_that_gets_its_name_is_not_charged_under_both(team: Team) -> None:
    host = make_host(gpus=1)
    ran(team, host, start=NOON, end=None, gpus=[0])
    accrue_costs(now=NOON + timedelta(hours=1))
    host.devices.filter(kind="gpu").update(gpu_type="rtx-4090")
    accrue_costs(now=NOON + timedelta(hours=2))
    entry = CostEntry.objects.get()
    assert (entry.device_type, entry.device_seconds) == ("rtx-4090", 7200)


def test_a_new_price_counts_from_midnight_and_for_new_attempts(team: Team) -> None:
    host = h100_host(gpu_hour_price=Decimal("1.00"))
    first = ran(team, host, start=NOON, end=None, gpus=[0])
    accrue_costs(now=NOON + timedelta(hours=1))
    Host.objects.update(gpu_hour_price=Decimal("3.00"))
    second = ran(team, host, start=NOON + timedelta(hours=1), end=None, gpus=[1])
    accrue_costs(now=NOON + timedelta(hours=2))
    accrue_costs(now=NOON + timedelta(hours=13))
    costs = {(e.attempt_id, e.day.day): e.cost for e in CostEntry.objects.all()}
    assert costs == {
        (first.uuid, 20): Decimal(12), (first.uuid, 21): Decimal(3),
        (second.uuid, 20): Decimal(33), (second.uuid, 21): Decimal(3),
    }  # fmt: skip


def test_a_price_that_comes_first_counts_for_the_day_and_nothing_is_a_price(team: Team, settings: Any) -> None:
    settings.CURRENCY = "EUR"  # list prices are in dollars
    host = h100_host()
    ran(team, host, start=NOON, end=None, gpus=[0])
    for price, cost in ((None, None), (Decimal(0), Decimal(0)), (Decimal(5), Decimal(0))):
        Host.objects.update(gpu_hour_price=price)
        accrue_costs(now=NOON + timedelta(hours=2))
        assert CostEntry.objects.get().cost == cost


def test_an_attempt_that_never_started_costs_nothing(team: Team) -> None:
    make_attempt(make_job(team), h100_host(), claimed_at=None)
    assert accrue_costs(now=NOON) == 0


def test_sums_are_of_the_persons_teams(team: Team) -> None:
    host, other = h100_host(), make_team()
    for owner, hours in ((team, 1), (other, 3)):
        ran(owner, host, start=NOON, end=NOON + timedelta(hours=hours), gpus=[0])
    accrue_costs(now=NOON + timedelta(hours=4))
    mine = CostEntry.objects.visible_to(make_user(team=team)).of_month(NOON.date().replace(day=1))
    assert mine.summed() | {"spent": None} == {
        "gpu_seconds": 3600.0, "cpu_seconds": 0.0, "energy_joules": None, "spent": None, "unpriced": 0, "jobs": 1,
    }  # fmt: skip
    everything = CostEntry.objects.visible_to(make_user(is_superuser=True)).grouped("team")
    assert [(row["label"], row["gpu_seconds"]) for row in everything] == [(other.name, 10800), (team.name, 3600)]
    assert not CostEntry.objects.of_month(NOON.date().replace(month=12, day=1)).exists()
