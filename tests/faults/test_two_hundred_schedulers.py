"""R17: two hundred schedulers at the same moment for eight GPUs, with ten thousand jobs in the queue.

Threads, each with a connection of its own: whatever Python does, the rows and constraints of Postgres decide. The
product lets one look at a time; without that turn all two hundred want the same GPUs, each for another job.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, connections
from django.utils import timezone

from apps.fleet.models import Reservation
from apps.fleet.offers import fleet_now
from apps.jobs import sweep as looks
from apps.jobs.models import Attempt, Job
from apps.jobs.queue import WaitingJob
from apps.jobs.scheduling import place_waiting_jobs, sweep
from tests.factories import make_host, make_job, make_team
from tests.jobs.test_scheduler_races import assert_books_balance, end_all

SCHEDULERS, GPUS, JOBS = 200, 8, 10_000
LOOK_SECONDS = 1.0  # then a look of this test that has placed something ends
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("redis_url", "own_connections")]


@pytest.fixture
def own_connections(transactional_db: None) -> Iterator[None]:
    """A connection for each thread; the server's own pool holds sixteen."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW max_connections")
        if int(cursor.fetchone()[0]) < SCHEDULERS + 20:
            pytest.skip("this Postgres takes fewer than 220 connections")
    options = connections.settings["default"]["OPTIONS"]
    pool = options["pool"]
    connection.close()
    options["pool"] = False
    yield
    connection.close()
    options["pool"] = pool


def fill() -> None:
    """Two hosts with four GPUs each, and jobs that want one to four of a host."""
    heard = timezone.now() + timedelta(hours=1)  # however long the race takes, nobody is silent
    for name in ("atlas", "brio"):
        make_host(name, gpus=GPUS // 2, last_seen_at=heard)
    first = make_job(make_team(), kind="train", gpus_needed=1)
    fields = [field.attname for field in Job._meta.concrete_fields if not field.primary_key]
    plain = {name: getattr(first, name) for name in fields}
    waiting = [Job(**plain | {"name": f"job {number}", "gpus_needed": 1 + number % 4}) for number in range(1, JOBS)]
    Job.objects.bulk_create(waiting, batch_size=2000)
    with connection.cursor() as cursor:  # as autovacuum would; else statistics of earlier tests mislead every query
        cursor.execute("ANALYZE")


def race(look: Callable[[], Any]) -> None:
    """All begin at once, while what runs ends beside them. Raises what any of them raised."""
    gate = threading.Barrier(SCHEDULERS + 1)

    def one(work: Callable[[], Any]) -> None:
        try:
            connection.ensure_connection()
            gate.wait(60)
            work()
        finally:
            connection.close()

    with ThreadPoolExecutor(SCHEDULERS + 1) as pool:
        for done in [pool.submit(one, work) for work in [end_all, *[look] * SCHEDULERS]]:
            done.result()


def look_without_turn() -> None:
    """One look, as far as it decides; what the others are told comes after it."""
    looks.Sweep(timezone.now(), patience=timedelta(minutes=5), give_up_at=time.monotonic() + LOOK_SECONDS).run()


def race_and_judge(look: Callable[[], Any]) -> None:
    """All GPUs are free as it begins, so somebody wins."""
    end_all()
    before = Attempt.objects.count()
    race(look)
    assert_books_balance()
    assert Attempt.objects.count() > before
    assert max(Counter(Attempt.objects.values_list("job_id", flat=True)).values()) == 1, "a job was started twice"


def assert_nothing_leaked() -> None:
    end_all()
    assert not Reservation.objects.filter(released_at=None).exists()
    assert sum(host.free_gpus for host in fleet_now().hosts) == GPUS


@pytest.mark.long
@pytest.mark.timeout(600)
def test_r17_two_hundred_schedulers(monkeypatch: pytest.MonkeyPatch) -> None:
    fill()
    queue, turns = looks.waiting_jobs(), itertools.count()

    def from_another_job() -> list[WaitingJob]:
        at = next(turns)
        return queue[at:] + queue[:at]

    with monkeypatch.context() as many:
        many.setattr(looks, "waiting_jobs", from_another_job)
        race_and_judge(look_without_turn)
    race_and_judge(place_waiting_jobs)
    assert_nothing_leaked()


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("look", "rounds"), [(place_waiting_jobs, 50), (sweep, 3)], ids=["in turn", "without the turn"]
)
def test_r17_two_hundred_schedulers_for_long(look: Callable[[], Any], rounds: int) -> None:
    fill()
    for _ in range(rounds):
        race_and_judge(look)
    assert_nothing_leaked()
