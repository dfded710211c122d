"""While Redis is away, the sweeps of the hosts keep the control worker's chores going."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import timezone

from apps.accounts.models import Team, User
from apps.fleet.models import FleetAlert, Host
from apps.jobs import chores
from apps.jobs.chores import EVERY_SECONDS, _Beat
from apps.jobs.models import Attempt, Job
from apps.jobs.reaping import UNCLAIMED_LIMIT
from apps.jobs.scheduling import place_waiting_jobs
from tests.factories import make_host
from tests.jobs.conftest import Worker, start, submit


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds since the last chores were due; the hosts had their time to report."""
    now = [0.0]
    monkeypatch.setattr(_Beat, "due_at", 0.0)
    monkeypatch.setattr(chores, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr("apps.fleet.tasks._STARTED", -1000.0)
    return now


@pytest.fixture
def no_broker(settings: Any) -> Iterator[None]:
    with socket.socket() as port:
        port.bind(("127.0.0.1", 0))
        settings.REDIS_URL = f"redis://127.0.0.1:{port.getsockname()[1]}/0"
        yield


def grow_old(attempt: Attempt) -> None:
    """Too old for what it is: placed and unclaimed, or claimed and started."""
    Attempt.objects.filter(pk=attempt.pk).update(created_at=timezone.now() - UNCLAIMED_LIMIT - timedelta(seconds=1))
    Attempt.objects.filter(pk=attempt.pk).exclude(claimed_at=None).update(
        claimed_at=timezone.now() - timedelta(hours=1)
    )


def sweep(worker: Worker) -> dict[str, bool]:
    """By the attempts that the host should hold: whether to end it."""
    answer = worker.call("GET", "assignments")
    assert answer.status_code == 200
    return {each["uuid"]: each["cancel"] for each in answer.json()["attempts"]}


def test_a_sweep_takes_back_what_was_not_claimed_and_ends_what_never_starts(
    team: Team, alice: User, worker: Worker, clock: list[float], no_broker: None
) -> None:
    _, claimed = start(team, alice, worker)
    job = submit(team, alice)
    place_waiting_jobs()
    forgotten = job.attempts.get()
    for each in (claimed, forgotten):
        grow_old(each)
    listed = sweep(worker)
    again = Attempt.objects.open().get(job=job)
    assert again != forgotten, "it was not placed again"
    assert listed == {str(claimed.uuid): True, str(again.uuid): False}


def test_a_sweep_tells_that_many_hosts_are_silent(
    team: Team, worker: Worker, clock: list[float], no_broker: None
) -> None:
    for name in ("brio", "cinder", "dune"):
        make_host(name)
    Host.objects.exclude(pk=worker.host.pk).update(last_seen_at=timezone.now() - timedelta(minutes=5))
    sweep(worker)
    assert FleetAlert.objects.get().text.startswith("3 of 4 hosts are silent at once")


def test_chores_keep_their_pace_and_placing_its_own(
    team: Team, alice: User, worker: Worker, clock: list[float], no_broker: None
) -> None:
    sweep(worker)
    _, attempt = start(team, alice, worker)
    grow_old(attempt)
    waiting = submit(team, alice)
    clock[0] = EVERY_SECONDS - 0.1
    assert sweep(worker)[str(attempt.uuid)] is False
    assert Job.objects.get(pk=waiting.pk).status == "starting"
    clock[0] = EVERY_SECONDS
    assert sweep(worker)[str(attempt.uuid)] is True


def test_while_the_broker_answers_a_sweep_does_no_chores(
    team: Team, alice: User, worker: Worker, clock: list[float], redis_url: str
) -> None:
    _, attempt = start(team, alice, worker)
    grow_old(attempt)
    assert sweep(worker) == {str(attempt.uuid): False}
