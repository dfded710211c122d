"""R5, R6, R7 and R17: the broker, its messages, the database and the scheduler."""

from __future__ import annotations

import pytest

from tests.faults import faults, witness
from tests.faults.conftest import Survive
from tests.faults.run import Run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def agents(run: Run) -> list[int | None]:
    return [host.agent.pid if host.agent and host.agent.poll() is None else None for host in run.rig.hosts]


def test_r5_without_redis_and_all_it_knew_the_flow_goes_on(run: Run, survive: Survive) -> None:
    before = agents(run)
    survive(faults.lose_redis)
    assert agents(run) == before, "a worker ended with the broker"


def test_r6_each_message_three_times_has_one_effect(run: Run, survive: Survive) -> None:
    promise = run.rig.crowd.ask("thrice", seconds=1.0)
    for _ in range(3):
        survive(faults.duplicate_messages)
    run.ends(promise.job, "succeeded")
    (attempt,) = run.rig.job(promise.job)["attempts"]
    assert witness.lines_of(run.rig.witness / "effects").count(attempt["uuid"]) == 1


def test_r7_postgres_stopped_at_once_loses_nothing_accepted(run: Run, survive: Survive) -> None:
    promises = []
    for number in range(2):
        promises.append(run.rig.crowd.ask(f"kept-{number}", seconds=1.0))
        survive(faults.lose_postgres)
    for promise in promises:
        run.ends(promise.job, "succeeded", seconds=90)
    survive(faults.lose_web)


def test_r17_two_hundred_schedulers_place_each_job_once(run: Run, survive: Survive) -> None:
    survive(faults.race)
    assert witness.lines_of(run.rig.witness / "double_use") == []
    for promise in run.rig.crowd.promises:
        attempts = run.rig.job(promise.job)["attempts"]
        assert len([each for each in attempts if each["ended_at"] is None]) <= 1
