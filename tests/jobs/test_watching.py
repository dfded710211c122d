"""What the server sees of jobs that stand still, run too long, or crash and come back."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import timezone

from apps.accounts.models import Team, User
from apps.accounts.problems import Problem
from apps.jobs import watching
from apps.jobs.models import Attempt, Job
from apps.jobs.presentation import state_word
from apps.jobs.scheduling import place_waiting_jobs
from apps.jobs.time_limits import ordered_stall_seconds, stall_seconds_of
from apps.jobs.watching import HOST_FIRST, watch_running_jobs
from tests.factories import make_attempt, make_job
from tests.jobs.conftest import Worker, start, submit

pytestmark = pytest.mark.usefixtures("redis_url")


def beat(worker: Worker, attempt: Attempt, **facts: Any) -> str:
    lease = {"uuid": str(attempt.uuid), "epoch": attempt.epoch, "lease_token": attempt.lease_token}
    answer = worker.call("POST", "heartbeat", {"attempts": [lease | {"phase": "running"} | facts]})
    word: str = answer.json()["attempts"][0]["answer"]
    return word


def stood_still(job: Job, **ago: float) -> None:
    Job.objects.filter(pk=job.pk).update(progress_at=timezone.now() - timedelta(**ago))


def test_a_job_without_progress_is_shown_as_stalled_until_it_moves(team: Team, alice: User, worker: Worker) -> None:
    job, attempt = start(team, alice, worker)
    beat(worker, attempt, progress_done=1, progress_total=10)
    watch_running_jobs()
    job.refresh_from_db()
    assert (job.stalled_at, state_word(job)) == (None, "Training")
    stood_still(job, minutes=11)
    beat(worker, attempt, progress_done=1, progress_total=10)  # the same again is no progress
    watch_running_jobs()
    watch_running_jobs()
    job.refresh_from_db()
    assert (job.status, state_word(job)) == ("running", "Stalled")
    assert job.events.filter(what="Stalled").count() == 1
    beat(worker, attempt, progress_done=2, progress_total=10)
    job.refresh_from_db()
    assert (job.stalled_at, state_word(job)) == (None, "Training")


def test_new_metrics_are_progress(team: Team, alice: User, worker: Worker) -> None:
    job, attempt = start(team, alice, worker)
    beat(worker, attempt)
    stood_still(job, minutes=11)
    watch_running_jobs()
    point = {"name": "loss", "step": 1, "value": 0.5, "at": timezone.now().isoformat()}
    query = f"epoch={attempt.epoch}&lease_token={attempt.lease_token}"
    worker.call("POST", f"attempts/{attempt.uuid}/metrics?{query}", {"points": [point]})
    job.refresh_from_db()
    assert job.stalled_at is None


def test_a_host_that_does_not_end_a_stalled_job_is_asked_to(team: Team, alice: User, worker: Worker) -> None:
    job, attempt = start(team, alice, worker)
    beat(worker, attempt)
    stood_still(job, minutes=10, seconds=HOST_FIRST.total_seconds() - 30)
    watch_running_jobs()
    assert beat(worker, attempt) == "run"
    stood_still(job, minutes=10, seconds=HOST_FIRST.total_seconds() + 30)
    watch_running_jobs()
    assert beat(worker, attempt) == "cancel"
    worker.finish(attempt, exit_code=-15, reason="cancelled_by_user")
    job.refresh_from_db()
    assert (job.status, job.reason, job.cause) == ("failed", "stalled", "No progress for 10 min.")


def test_a_silent_host_is_not_asked_and_its_progress_counts_when_it_is_back(
    team: Team, alice: User, worker: Worker
) -> None:
    job, attempt = start(team, alice, worker, time_limit_seconds=3600)
    beat(worker, attempt, progress_done=1, progress_total=100)
    stood_still(job, hours=2)
    hours_ago = timezone.now() - timedelta(hours=2)
    Attempt.objects.filter(pk=attempt.pk).update(lease_expires_at=hours_ago, claimed_at=hours_ago)
    watch_running_jobs()
    job.refresh_from_db()
    attempt.refresh_from_db()
    assert (attempt.stop_reason, state_word(job)) == ("", "Unknown")
    Job.objects.filter(pk=job.pk).update(time_limit_seconds=None)
    assert beat(worker, attempt, progress_done=60, progress_total=100) == "run"
    watch_running_jobs()
    job.refresh_from_db()
    assert (job.stalled_at, beat(worker, attempt)) == (None, "run")


def test_a_stall_is_only_shown_where_nobody_counts(team: Team) -> None:
    job = make_job(team, kind="convert")
    assert (stall_seconds_of(job), ordered_stall_seconds(job)) == (1800, 0)


def test_output_is_progress_for_what_has_long_steps_without_a_count(team: Team, worker: Worker) -> None:
    for kind, moves in (("install", True), ("train", False)):
        long_ago = timezone.now() - timedelta(hours=1)
        job = make_job(team, kind=kind, status="running", progress_at=long_ago, stalled_at=long_ago)
        attempt = make_attempt(job, worker.host, claimed_at=long_ago)
        query = f"offset=0&epoch=1&lease_token={attempt.lease_token}"
        assert (
            worker.call("POST", f"attempts/{attempt.uuid}/logs?{query}", b"Resolved 90 packages\n").status_code == 200
        )
        job.refresh_from_db()
        assert (job.stalled_at is None) is moves
        assert (job.progress_at > long_ago) is moves


def test_a_jobs_own_stall_limit_counts_and_reaches_the_host(team: Team, alice: User, worker: Worker) -> None:
    job = submit(team, alice, stall_seconds=3600)
    place_waiting_jobs()
    attempt = job.attempts.get()
    assert worker.claim(attempt)["stall_seconds"] == 3600
    attempt.refresh_from_db()
    beat(worker, attempt)
    stood_still(job, minutes=59)
    watch_running_jobs()
    job.refresh_from_db()
    assert job.stalled_at is None


def test_a_run_past_its_time_limit_ends_with_the_sentence(team: Team, alice: User, worker: Worker) -> None:
    job, attempt = start(team, alice, worker, time_limit_seconds=7200)
    beat(worker, attempt)
    Attempt.objects.filter(pk=attempt.pk).update(claimed_at=timezone.now() - timedelta(hours=2, seconds=1))
    watch_running_jobs()
    assert beat(worker, attempt) == "cancel"
    worker.finish(attempt, exit_code=-15, reason="cancelled_by_user")
    job.refresh_from_db()
    assert (job.status, job.reason) == ("failed", "timed_out")
    assert job.cause == "It ran for 2 h, its time limit."
    assert job.attempts.count() == 1


def test_a_run_that_ends_well_at_its_limit_is_done(team: Team, alice: User, worker: Worker) -> None:
    job, attempt = start(team, alice, worker, time_limit_seconds=60)
    beat(worker, attempt)
    Attempt.objects.filter(pk=attempt.pk).update(claimed_at=timezone.now() - timedelta(minutes=2))
    watch_running_jobs()
    worker.finish(attempt, exit_code=0)
    job.refresh_from_db()
    assert job.status == "succeeded"


def test_an_attempt_that_never_starts_is_ended_by_the_server_too(team: Team, alice: User, worker: Worker) -> None:
    job, attempt = start(team, alice, worker)
    Attempt.objects.filter(pk=attempt.pk).update(claimed_at=timezone.now() - timedelta(minutes=33))
    watch_running_jobs()
    worker.finish(attempt, exit_code=-15, reason="cancelled_by_user")
    job.refresh_from_db()
    assert (job.reason, job.cause) == ("timed_out", "It did not start within 30 min.")


@pytest.fixture
def pass_time(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Lets time go by; `set_ahead` sets the server's clock on top of it."""
    ahead = {"wall": timedelta(), "monotonic": timedelta()}
    wall, monotonic = timezone.now, time.monotonic
    monkeypatch.setattr(timezone, "now", lambda: wall() + ahead["wall"])
    ticks = SimpleNamespace(monotonic=lambda: monotonic() + ahead["monotonic"].total_seconds())
    monkeypatch.setattr(watching, "time", ticks)
    monkeypatch.setattr(watching, "_clock", watching.Clock())

    def pass_time(gone: timedelta = timedelta(), *, set_ahead: timedelta = timedelta()) -> None:
        ahead["wall"] += gone + set_ahead
        ahead["monotonic"] += gone

    return pass_time


@pytest.mark.parametrize("phase", ["running", "loading"])
@pytest.mark.parametrize("hours", [1, 24])
def test_r12_a_server_clock_that_is_set_ends_nothing(
    team: Team, alice: User, worker: Worker, pass_time: Callable[..., None], hours: int, phase: str
) -> None:
    job, attempt = start(team, alice, worker, time_limit_seconds=1800)
    beat(worker, attempt, phase=phase)
    watch_running_jobs()
    pass_time(set_ahead=timedelta(hours=hours))
    assert beat(worker, attempt, phase=phase) == "run"
    watch_running_jobs()
    assert beat(worker, attempt, phase=phase) == "run"
    job.refresh_from_db()
    assert job.stalled_at is None


@pytest.mark.parametrize("hours", [3, -24])
@pytest.mark.parametrize("phase", ["running", "loading"])
def test_r12_what_stands_still_after_a_clock_was_set_is_ended_all_the_same(
    team: Team, alice: User, worker: Worker, pass_time: Callable[..., None], phase: str, hours: int
) -> None:
    _, attempt = start(team, alice, worker, time_limit_seconds=1800)
    watch_running_jobs()
    pass_time(set_ahead=timedelta(hours=hours))
    watch_running_jobs()
    pass_time(timedelta(minutes=34))
    assert beat(worker, attempt, phase=phase) == "run"
    watch_running_jobs()
    assert beat(worker, attempt, phase=phase) == "cancel"


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("time_limit_seconds", 59, "between 60 and"),
        ("time_limit_seconds", 8_000_000, "between 60 and"),
        ("stall_seconds", 0, "between 60 and"),
        ("stall_seconds", 10**6, "between 60 and"),
    ],
)
def test_a_limit_out_of_range_is_refused_by_name(team: Team, alice: User, field: str, value: int, says: str) -> None:
    with pytest.raises(Problem, match=says) as refused:
        submit(team, alice, **{field: value})
    assert (refused.value.errors[0].field, refused.value.errors[0].value) == (field, value)
    assert not Job.objects.exists()


def test_a_server_has_no_limits(team: Team, alice: User) -> None:
    with pytest.raises(Problem, match="until it is stopped"):
        submit(team, alice, kind="serve", time_limit_seconds=3600)


def test_a_server_that_crashes_pauses_and_starts_again_until_it_is_held(
    team: Team, alice: User, worker: Worker
) -> None:
    job, attempt = start(team, alice, worker, kind="serve")
    for loss in (1, 2, 3):
        beat(worker, attempt, phase="ready")
        worker.finish(attempt, exit_code=1, reason="engine_exited", cause="CUDA error")
        job.refresh_from_db()
        assert (job.status, job.infrastructure_losses) == ("queued", loss)
        assert job.not_before > timezone.now()
        assert job.wait_reason.startswith("Starts again at ")
        place_waiting_jobs()
        assert job.attempts.count() == loss, "it was placed before its pause was over"
        Job.objects.filter(pk=job.pk).update(not_before=timezone.now() - timedelta(seconds=1))
        place_waiting_jobs()
        attempt = job.attempts.get(ended_at=None)
        worker.claim(attempt)
        attempt.refresh_from_db()
    worker.finish(attempt, exit_code=1, reason="engine_exited", cause="CUDA error")
    job.refresh_from_db()
    assert (job.status, job.reason, job.cause) == ("held", "engine_exited", "CUDA error")
