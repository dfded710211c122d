"""R6: every kind of Celery message three times, out of order and two hours late has one effect.

A message says only that it is time to look; so each is delivered here by calling its task, in a world where it has
something to do. A new task without a row in MESSAGES fails the first test.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings
from django.utils import timezone

from apps.accounts.models import AuditEvent
from apps.arena.models import Battle
from apps.calibration.services import record_estimates
from apps.catalog.models import Verdict
from apps.costs.models import CostEntry
from apps.evals.services import create_eval_run
from apps.fleet import tasks as fleet_tasks
from apps.fleet.models import DeviceMinute, FleetAlert
from apps.fleet.partitions import SAMPLES, _partitions, make_days
from apps.gateway.decode_speeds import QUANTITY
from apps.gateway.metering import Spool
from apps.gateway.models import UsageRecord
from apps.jobs.blobs import blob_path, put_blob
from apps.jobs.models import Attempt, Job, JobEvent
from apps.jobs.schedules import create_schedule
from apps.jobs.services import cancel_job
from apps.jobs.watching import Clock
from apps.tour.services import start_tour
from stackweb.celery import app
from tests.factories import (
    make_attempt,
    make_endpoint,
    make_host,
    make_job,
    make_live_endpoint,
    make_sample,
    make_stored_version,
    make_suite,
    make_team,
    make_user,
)
from tests.gateway.test_decode_speeds import answer as answer_of
from tests.gateway.test_decode_speeds import estimate
from tests.gateway.test_live import line as usage_line
from workers import tasks as worker_tasks
from workers.agent import Agent
from workers.app import app as worker_app

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_url")]
LATE = timedelta(hours=2)
Effect = Callable[[], Any]


World = Callable[[], tuple[list[Any], Effect]]
MESSAGES: dict[str, World] = {}
OUTSIDE = ["arena.answer"]  # reads what is committed
BELLS = {"workers.wake"}  # on a host; the server's answer decides what starts


def message(task: str) -> Callable[[World], World]:
    """The world in which it has something to do: the message's arguments, and what can be seen of its effect."""

    def known(world: World) -> World:
        MESSAGES[task] = world
        return world

    return known


@pytest.fixture(autouse=True)
def own_files(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.SPOOL_DIR, settings.BLOB_DIR = tmp_path / "spool", tmp_path / "blobs"
    settings.SPOOL_DIR.mkdir()
    monkeypatch.setattr(fleet_tasks, "_STARTED", -1e9)


@message("jobs.place")
def a_job_that_can_start() -> tuple[list[Any], Effect]:
    make_host("atlas", gpus=1)
    job = make_job(make_team(), kind="train", gpus_needed=1)
    return [], lambda: list(Attempt.objects.filter(job=job).values_list("epoch", "device_indexes"))


@message("jobs.reap")
def an_attempt_that_nobody_claimed() -> tuple[list[Any], Effect]:
    job = make_job(make_team(), kind="train", gpus_needed=1, status="starting")
    make_attempt(job, make_host("brio", gpus=1), created_at=timezone.now() - timedelta(minutes=5))

    def effect() -> Any:
        return list(job.attempts.values_list("epoch", "reason")), JobEvent.objects.filter(job=job).count()

    return [], effect


@message("jobs.forget_torn_parts")
def an_upload_that_was_cut_off() -> tuple[list[Any], Effect]:
    kept = blob_path(put_blob(b"rows").sha256)
    torn = Path(settings.BLOB_DIR) / ".part-torn"
    torn.write_bytes(b"ro")
    os.utime(torn, (0, 0))
    return [], lambda: (kept.exists(), torn.exists())


@message("jobs.run_schedules")
def a_schedule_that_is_due() -> tuple[list[Any], Effect]:
    team = make_team()
    alice = make_user("alice", team=team)
    version = make_stored_version(team, host=make_host("birch"))
    run = create_eval_run(team=team, user=alice, version=version, suite=make_suite(), limit=2, engine="fake-eval")
    cancel_job(job=run.job, user=alice)
    schedule = create_schedule(job=run.job, user=alice, cron="0 3 1 1 *")
    type(schedule).objects.filter(pk=schedule.pk).update(next_run_at=timezone.now() - timedelta(minutes=1))
    return [], lambda: (schedule.jobs.count(), AuditEvent.objects.filter(action="schedule.fired").count())


@message("fleet.review_silence")
def hosts_that_are_silent() -> tuple[list[Any], Effect]:
    for name in ("c1", "c2"):
        make_host(name, last_seen_at=timezone.now() - timedelta(minutes=5))
    return [], lambda: (FleetAlert.objects.count(), AuditEvent.objects.filter(object_id="fleet").count())


@message("fleet.roll_up_telemetry")
def samples_of_a_minute() -> tuple[list[Any], Effect]:
    host = make_host("dune", gpus=1)
    at = timezone.now().replace(second=0, microsecond=0) - timedelta(minutes=10)
    for second in (0, 5, 10):
        make_sample(host, at=at + timedelta(seconds=second))
    minutes = DeviceMinute.objects.filter(device_id__in=host.devices.values("pk")).order_by("device_id", "at")
    return [], lambda: list(minutes.values())


@message("fleet.forget_telemetry")
def days_that_are_past() -> tuple[list[Any], Effect]:
    make_days(SAMPLES, [date(2024, 2, 29)])
    return [], lambda: [name for name in _partitions(SAMPLES) if "2024" in name]


@message("costs.accrue")
def an_attempt_that_ran() -> tuple[list[Any], Effect]:
    now = timezone.now().replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=1)
    times = {"created_at": now, "claimed_at": now, "ended_at": now + timedelta(hours=1)}
    attempt = make_attempt(
        make_job(make_team(), status="succeeded"), make_host("echo", gpus=1), device_indexes=[0], **times
    )
    return [], lambda: list(CostEntry.objects.filter(attempt=attempt).values_list("day", "device_seconds", "cost"))


@message("gateway.flush_usage")
def a_line_of_the_spool() -> tuple[list[Any], Effect]:
    spool = Spool(settings.SPOOL_DIR)
    spool.append(usage_line(1))
    spool.close()
    return [], lambda: list(UsageRecord.objects.filter(uuid=UUID(int=1)).values("completion_tokens"))


@message("gateway.note_decode_speeds")
def requests_that_ran_alone() -> tuple[list[Any], Effect]:
    endpoint = make_live_endpoint(make_team(), make_host(), "fast", ready_at=timezone.now() - timedelta(hours=1))
    job = endpoint.replicas.get().job
    record_estimates(job=job, estimates=[estimate()])
    for number in range(5):
        answer_of(endpoint, minutes=2 + number, rate=80 + number)
    return [], lambda: job.attempts.get().measurements.get(QUANTITY)


@message("catalog.judge_versions")
def a_version_without_verdict() -> tuple[list[Any], Effect]:
    make_host("fir", gpus=1)
    version = make_stored_version(make_team())
    return [], lambda: sorted(Verdict.objects.filter(version=version).values_list("device", "verdict", "used_bytes"))


@message("arena.answer")
def a_battle_without_answers() -> tuple[list[Any], Effect]:
    team = make_team()
    left, right = make_endpoint(team, "left"), make_endpoint(team, "right")
    battle = Battle.objects.create(team=team, prompt="Why?", left=left, right=right)

    def effect() -> Any:
        battle.refresh_from_db()
        return battle.answered_at, battle.left_error, battle.right_error

    return [battle.pk], effect


@message("tour.advance")
def a_tour_at_its_first_step() -> tuple[list[Any], Effect]:
    team = make_team()
    make_host("gale")
    tour = start_tour(team=team, user=make_user(team=team))

    def effect() -> Any:
        tour.refresh_from_db()
        return [step["status"] for step in tour.steps], Job.objects.filter(team=team).count()

    return [], effect


def tasks() -> dict[str, Any]:
    """All of the web side and of the workers, but Celery's own."""
    app.loader.import_default_modules()
    worker_app.loader.import_default_modules()
    both = {**app.tasks, **worker_app.tasks}
    return {name: task for name, task in both.items() if not name.startswith("celery.")}


def deliver(name: str, args: list[Any]) -> None:
    """As the broker would: by name, with arguments that went through JSON."""
    tasks()[name](*json.loads(json.dumps(args)))


def test_r6_every_task_that_is_registered_is_tried_here() -> None:
    assert set(tasks()) == set(MESSAGES) | BELLS


@pytest.mark.parametrize("name", [name for name in MESSAGES if name not in OUTSIDE])
def test_r6_a_message_thrice_and_late_has_one_effect(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_one_effect(name, monkeypatch)


def assert_one_effect(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    args, effect = MESSAGES[name]()
    before = effect()
    deliver(name, args)
    once = effect()
    assert once != before, "there was nothing to do, so nothing was shown"
    deliver(name, args)
    assert effect() == once
    late = timezone.now() + LATE
    monkeypatch.setattr("django.utils.timezone.now", lambda: late)
    monkeypatch.setattr("apps.jobs.watching._clock", Clock())  # no other test meets a clock that was set
    deliver(name, args)
    assert effect() == once


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", OUTSIDE)
def test_r6_a_message_about_what_is_committed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_one_effect(name, monkeypatch)


@pytest.mark.parametrize("seed", [1, 2])
def test_r6_all_messages_thrice_in_any_order_have_one_effect_each(seed: int) -> None:
    """But for silent hosts, which would keep everything from being placed, and answers from another connection."""
    worlds = {name: world() for name, world in MESSAGES.items() if name not in ("fleet.review_silence", *OUTSIDE)}
    letters, order = [*worlds] * 3, random.Random(seed)

    def deliver_all() -> dict[str, Any]:
        order.shuffle(letters)
        for name in letters:
            deliver(name, worlds[name][0])
        return {name: effect() for name, (_, effect) in worlds.items()}

    deliver_all()
    once = deliver_all()  # whatever one made possible for another is done by now
    assert (len(once["jobs.place"]), once["jobs.run_schedules"]) == (1, (1, 1))
    assert deliver_all() == once


def test_r6_three_rings_are_one_look() -> None:
    while not worker_tasks.BELL.empty():
        worker_tasks.BELL.get()
    for attempt in ("", str(UUID(int=1)), ""):
        deliver("workers.wake", [attempt])
    agent = object.__new__(Agent)
    assert [agent._rang(0.01), agent._rang(0.01)] == [True, False]
