"""R5 with a long queue, R7 again and again, R18: on rigs of their own, whose jobs are not the crowd's."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

import psycopg
import pytest

from apps.engines.adapters.fake import TrainOptions
from tests.faults import faults, witness
from tests.faults.host import of_attempt
from tests.faults.judge import judge, settle
from tests.faults.rig import Rig, running_rig
from tests.faults.run import Run
from tests.faults.site import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
ADD = """
from apps.accounts.models import Team
from apps.jobs.models import Job
team, more = Team.objects.first(), {more}
spec = {{"kind": "train", "engine": "fake-train", "options": more.pop("options")}}
row = {{"team": team, "kind": "train", "engine": "fake-train", "spec": spec, "gpus_needed": 1}} | more
Job.objects.bulk_create([Job(**row, name="{name}") for _ in range({count})], batch_size=2000)
"""


@pytest.fixture(scope="module")
def quiet() -> Iterator[Run]:
    """A rig without a crowd: what is asked for here is all there is."""
    with running_rig(seed=5, hosts=2, gpus=2) as rig:
        yield Run(rig, rig.random)


def add_jobs(rig: Rig, name: str, count: int, options: TrainOptions, **more: object) -> None:
    """At once, past the forms: ten thousand requests would take longer than the test."""
    more["options"] = options.model_dump()
    rig.site.manage("shell", "-c", ADD.format(name=name, count=count, more=repr(more)))


def statuses(rig: Rig, name: str) -> Counter[str]:
    with psycopg.connect(rig.site.postgres.url) as reading:
        rows = reading.execute("SELECT status, count(*) FROM jobs_job WHERE name = %s GROUP BY 1", [name]).fetchall()
    return Counter(dict(rows))


def workers(rig: Rig) -> list[object]:
    """Whoever would show that something was restarted."""
    agents = [host.agent.pid if host.agent and host.agent.poll() is None else None for host in rig.hosts]
    return [*agents, rig.site.parts["web"].pid, rig.site.parts["control"].pid, *rig.site.deaths]


def lose_redis_with(run: Run, jobs: int, *, times: int, more_ends: int) -> None:
    rig, name = run.rig, f"queue of {jobs}"
    add_jobs(rig, name, jobs, TrainOptions(seconds=0.2, steps=1))
    wait_for(lambda: statuses(rig, name)["succeeded"] >= 2, 60, "the flow has begun")
    before = workers(rig)
    for _ in range(times):
        faults.lose_redis(run)
        assert run.misses == []
        done = statuses(rig, name)["succeeded"]
        wait_for(lambda done=done: statuses(rig, name)["succeeded"] >= done + more_ends, 120, "jobs end again")
    found = statuses(rig, name)
    assert found.total() == jobs
    assert set(found) <= {"queued", "starting", "running", "succeeded"}
    assert workers(rig) == before
    effects = Counter(witness.lines_of(rig.witness / "effects"))
    assert max(effects.values()) == 1
    assert witness.lines_of(rig.witness / "double_use") == []
    with psycopg.connect(rig.site.postgres.url, autocommit=True) as ending:
        ending.execute("UPDATE jobs_job SET not_before = now() + interval '1 day' WHERE status = 'queued'")


def test_r5_with_a_queue_nothing_is_lost_and_no_worker_restarts(quiet: Run) -> None:
    lose_redis_with(quiet, 200, times=1, more_ends=5)


def test_r18_a_trainer_that_lives_without_a_step_is_ended_as_stalled(quiet: Run) -> None:
    rig = quiet.rig
    add_jobs(rig, "hung", 1, TrainOptions(seconds=600, steps=1, ignore_term=True), stall_seconds=4, priority=9)
    (job,) = [row["id"] for row in rig.site.all("jobs", kind="train") if row["name"] == "hung"]
    _host, uuid = quiet.where(job)
    assert of_attempt(uuid)
    wait_for(lambda: rig.job(job)["finished_at"], 60, "the policy of a stall is applied")
    found = rig.job(job)
    assert (found["status"], found["reason"], len(found["attempts"])) == ("failed", "stalled", 1)
    assert "No progress for 4 s" in found["cause"]
    assert of_attempt(uuid) == set()
    assert not any(device["is_held"] for host in rig.site.get("hosts")["items"] for device in host["devices"])


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_r5_with_ten_thousand_queued_nothing_is_lost_and_no_worker_restarts() -> None:
    with running_rig(seed=55, hosts=3, gpus=2) as rig:
        lose_redis_with(Run(rig, rig.random), 10_000, times=5, more_ends=20)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_r7_postgres_stopped_at_once_every_ten_seconds_loses_nothing() -> None:
    with running_rig(seed=7, hosts=3, gpus=2) as rig:
        run = Run(rig, rig.random)
        rig.crowd.start()
        for _ in range(6):
            time.sleep(10)
            faults.lose_postgres(run)
        jobs, _acted = settle(run)
        bars = judge(run, jobs)
    assert [f"{bar.what}: {bar.value:g} {bar.found}" for bar in bars if not bar.ok] == []
