"""Curves belong to the attempt that reported them: a run that began again does not continue the lost one's."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from apps.accounts.models import Team, User
from apps.jobs.models import Attempt, Job, MetricPoint
from apps.jobs.scheduling import place_waiting_jobs
from apps.jobs.streams import _read_metrics
from tests.factories import api_headers
from tests.jobs.conftest import Worker, start


def report(worker: Worker, attempt: Attempt, losses: dict[int, float]) -> int:
    """The status that the server answers."""
    now = timezone.now().isoformat()
    points = [{"name": "loss", "step": step, "value": value, "at": now} for step, value in losses.items()]
    query = f"epoch={attempt.epoch}&lease_token={attempt.lease_token}"
    return int(worker.call("POST", f"attempts/{attempt.uuid}/metrics?{query}", {"points": points}).status_code)


@pytest.fixture
def twice(team: Team, alice: User, worker: Worker) -> tuple[Job, Attempt, Attempt]:
    """Lost at step 3, running again."""
    job, first = start(team, alice, worker)
    report(worker, first, {1: 9.0, 2: 8.0, 3: 7.0})
    worker.finish(first, reason="worker_lost")
    Job.objects.update(not_before=None)
    place_waiting_jobs()
    second = job.attempts.get(epoch=2)
    worker.claim(second)
    second.refresh_from_db()
    return job, first, second


def curves(client: Client, user: User, job: Job, **query: Any) -> list[Any]:
    found = client.get(f"/api/v1/jobs/{job.public_id}/metrics", query, headers=api_headers(user)).json()
    return [(one["epoch"], one["steps"], one["values"]) for one in found]


def test_a_rerun_has_curves_of_its_own(
    twice: tuple[Job, Attempt, Attempt], worker: Worker, client: Client, alice: User
) -> None:
    job, _, second = twice
    assert curves(client, alice, job) == [(1, [1, 2, 3], [9, 8, 7])], "the lost one's until there are others"
    for _ in range(2):
        assert report(worker, second, {1: 5.0, 2: 4.0}) == 200
    assert MetricPoint.objects.count() == 5, "resent points change nothing"
    assert curves(client, alice, job) == [(2, [1, 2], [5, 4])]
    assert curves(client, alice, job, epoch=1) == [(1, [1, 2, 3], [9, 8, 7])]
    assert curves(client, alice, job, epoch=7) == []


def test_a_superseded_attempt_adds_no_points(twice: tuple[Job, Attempt, Attempt], worker: Worker) -> None:
    _, first, _ = twice
    assert report(worker, first, {4: 6.0}) == 409
    assert MetricPoint.objects.count() == 3


def test_the_page_says_whose_curves_it_shows(
    twice: tuple[Job, Attempt, Attempt], worker: Worker, client: Client, alice: User
) -> None:
    job, _, second = twice
    client.force_login(alice)

    def charts(query: str = "") -> str:
        return client.get(f"/jobs/{job.public_id}?part=charts{query}").text

    assert "3 points by step, attempt 1" in charts()
    report(worker, second, {1: 5.0})
    assert "1 point by step, attempt 2" in charts()
    assert "3 points by step, attempt 1" in charts("&attempt=1")
    assert "part=charts&amp;attempt=1" in client.get(f"/jobs/{job.public_id}?attempt=1").text


def test_the_stream_follows_one_attempt(twice: tuple[Job, Attempt, Attempt], worker: Worker) -> None:
    job, first, second = twice
    report(worker, second, {1: 5.0})
    _, points, position, _ = _read_metrics(job, first, 0)
    assert points == [["loss", 1, 9.0], ["loss", 2, 8.0], ["loss", 3, 7.0]]
    assert _read_metrics(job, first, position or 0) == ("metrics", None, position, True)
    name, newest, _, is_over = _read_metrics(job, None, 0)
    assert (name, newest, is_over) == ("metrics", [["loss", 1, 5.0]], False)
