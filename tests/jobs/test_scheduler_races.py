"""Many at the same moment, each on a connection of its own: the database is the judge (TRUST R17)."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from apps.accounts.models import Team, User
from apps.accounts.problems import Problem
from apps.fleet.models import Device, Reservation
from apps.fleet.offers import fleet_now
from apps.jobs.lifecycle import end_attempt
from apps.jobs.models import Attempt, Job
from apps.jobs.quotas import set_quota
from apps.jobs.scheduling import place_waiting_jobs, sweep
from tests.factories import make_host, make_user
from tests.jobs.conftest import submit
from tests.threads import Beside

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("redis_url")]


def together(count: int, work: Callable[[], Any]) -> list[BaseException | None]:
    """`count` threads begin at once; what each raised."""
    gate = threading.Barrier(count)

    def one() -> None:
        gate.wait(20)
        work()

    return [each.end() for each in [Beside(one) for _ in range(count)]]


def assert_books_balance() -> None:
    """Every live reservation belongs to an open attempt that names its GPU, and no slot has two holders."""
    live = list(Reservation.objects.filter(released_at=None).select_related("device"))
    assert max(Counter((row.device_id, row.slot) for row in live).values(), default=1) == 1, "double use"
    held = Counter((row.holder, row.device.index) for row in live if row.device.kind == Device.Kind.GPU)
    named = Counter((each.uuid, index) for each in Attempt.objects.open() for index in each.device_indexes)
    assert held == named, "leaked or missing"


def end_all() -> None:
    for attempt in Attempt.objects.open():
        end_attempt(attempt, exit_code=0, reason="", cause="", result={})


def race(*, schedulers: int, rounds: int, look: Callable[[], Any]) -> int:
    """Schedulers look at once while attempts end beside them. Returns how many attempts were made."""
    for _ in range(rounds):
        ends = Beside(end_all)
        assert together(schedulers, look) == [None] * schedulers
        assert ends.end() is None
        assert_books_balance()
    return Attempt.objects.count()


@pytest.mark.parametrize("look", [sweep, place_waiting_jobs], ids=["without the turn", "in turn"])
def test_racing_schedulers_give_no_gpu_twice_and_leak_none(team: Team, alice: User, look: Callable[[], Any]) -> None:
    make_host("atlas", gpus=4)
    make_host("brio", gpus=4)
    for number in range(24):
        submit(team, alice, gpus=1 + number % 3)
    made = race(schedulers=8, rounds=3, look=look)
    end_all()
    while Job.objects.filter(finished_at=None).exists():
        place_waiting_jobs()
        assert_books_balance()
        end_all()
    assert made > 0
    assert Attempt.objects.count() == 24, "each job ran once"
    assert sum(host.free_gpus for host in fleet_now().hosts) == 8


def test_gpus_at_once_hold_against_racing_schedulers(team: Team, alice: User) -> None:
    make_host("atlas", gpus=8)
    set_quota(team=team, user=make_user(is_superuser=True), gpus_at_once=3, gpu_hours_per_month=None)
    for _ in range(8):
        submit(team, alice, gpus=1)
    assert together(6, sweep) == [None] * 6
    place_waiting_jobs()
    assert Attempt.objects.open().count() == 3


def test_gpu_hours_hold_against_twenty_submits_at_once(team: Team, alice: User) -> None:
    set_quota(team=team, user=make_user(is_superuser=True), gpus_at_once=None, gpu_hours_per_month=5)
    raised = together(20, lambda: submit(team, alice, gpus=1, time_limit_seconds=3600))
    refused = [error for error in raised if error is not None]
    assert Job.objects.count() == 5
    assert [(type(error), getattr(error, "status", 0)) for error in refused] == [(Problem, 403)] * 15


def test_who_is_not_next_in_line_leaves_at_once_and_nothing_is_overlooked(
    team: Team, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_host("atlas")
    looks = []
    inside, go_on = threading.Event(), threading.Event()

    def slow() -> bool:
        looks.append(Job.objects.waiting().count())
        inside.set()
        assert go_on.wait(20)
        return False

    monkeypatch.setattr("apps.jobs.scheduling.sweep", slow)
    first = Beside(place_waiting_jobs)
    assert inside.wait(20)
    submit(team, alice)
    second = Beside(place_waiting_jobs)
    second.until_it_waits()
    place_waiting_jobs()  # the second has not looked yet, and will see what this one would
    go_on.set()
    assert (first.end(), second.end()) == (None, None)
    assert looks == [0, 1]
