from __future__ import annotations

import itertools
import re

import pytest

from apps.accounts.models import Team, User
from apps.fleet.models import PortLease, Reservation
from apps.jobs import states
from apps.jobs.models import Job
from apps.jobs.policies import POLICIES
from apps.jobs.scheduling import place_waiting_jobs
from apps.jobs.services import cancel_job, retry_job
from apps.jobs.states import TRANSITIONS, IllegalTransition, JobStatus, Owner, check_transition
from tests.jobs.conftest import Worker, start, submit


@pytest.mark.parametrize(("before", "after", "by"), list(itertools.product(JobStatus, JobStatus, Owner)))
def test_only_drawn_arrows_are_allowed_and_only_to_their_owner(before: JobStatus, after: JobStatus, by: Owner) -> None:
    if TRANSITIONS[before].get(after) is by:
        check_transition(before, after, by)
    else:
        with pytest.raises(IllegalTransition):
            check_transition(before, after, by)


def test_the_docstring_draws_every_arrow_with_its_owner() -> None:
    drawn = set()
    for row in re.findall(r"^ {4}([a-z, ]+?) *──(\w+)─*▶ ([a-z| ]+)$", states.__doc__ or "", re.MULTILINE):
        sources, owner, targets = row
        drawn |= {(s, t, owner) for s in sources.split(", ") for t in targets.split(" | ")}
    assert drawn == {(before, after, by) for before, arrows in TRANSITIONS.items() for after, by in arrows.items()}


def test_a_done_job_never_moves_again() -> None:
    assert not TRANSITIONS[JobStatus.SUCCEEDED]


def test_success_frees_everything(team: Team, alice: User, worker: Worker) -> None:
    job, attempt = start(team, alice, worker, kind="serve", ram_bytes=10**9)
    assert Reservation.objects.filter(holder=attempt.uuid, released_at=None).count() == 1
    cancel_job(job=job, user=alice)
    assert worker.finish(attempt, exit_code=0, reason="cancelled_by_user").status_code == 200
    job.refresh_from_db()
    assert job.status == "cancelled"
    assert job.finished_at is not None
    assert not Reservation.objects.filter(released_at=None).exists()
    assert not PortLease.objects.filter(released_at=None).exists()


def test_a_cancelled_running_job_ends_only_when_the_worker_says_so(team: Team, alice: User, worker: Worker) -> None:
    job, attempt = start(team, alice, worker)
    cancel_job(job=job, user=alice)
    job.refresh_from_db()
    assert job.status == "cancelling"
    assert Reservation.objects.filter(holder=attempt.uuid, released_at=None).exists()
    worker.finish(attempt, exit_code=-15)
    job.refresh_from_db()
    assert job.status == "cancelled"


def test_work_that_ends_by_itself_while_it_is_cancelled_does_not_stand_there_as_done(
    team: Team, alice: User, worker: Worker
) -> None:
    job, attempt = start(team, alice, worker)
    cancel_job(job=job, user=alice)
    worker.finish(attempt, exit_code=0)
    job.refresh_from_db()
    attempt.refresh_from_db()
    assert (job.status, attempt.reason) == ("cancelled", "cancelled_by_user")
    assert attempt.cause == "Its work had just ended by itself; the result is not kept."


def test_an_unclaimed_attempt_is_cancelled_at_once(team: Team, alice: User, worker: Worker) -> None:
    job = submit(team, alice)
    place_waiting_jobs()
    cancel_job(job=job, user=alice)
    job.refresh_from_db()
    assert job.status == "cancelled"
    assert not Reservation.objects.filter(released_at=None).exists()


MAX_LOSSES = POLICIES["train"].max_losses


def test_lost_workers_rerun_three_times_and_then_hold(team: Team, alice: User, worker: Worker) -> None:
    job, attempt = start(team, alice, worker)
    for _ in range(MAX_LOSSES):
        worker.finish(attempt, reason="worker_lost")
        place_waiting_jobs()
        attempt = job.attempts.order_by("-epoch").first()
        worker.claim(attempt)
    worker.finish(attempt, reason="worker_lost")
    job.refresh_from_db()
    assert job.status == "held"
    assert job.attempts.count() == MAX_LOSSES + 1
    retry_job(job=job, user=alice)
    job.refresh_from_db()
    assert (job.status, job.infrastructure_losses) == ("queued", 0)


def test_interruptions_are_not_counted(team: Team, alice: User, worker: Worker) -> None:
    job, attempt = start(team, alice, worker)
    for _ in range(MAX_LOSSES + 2):
        worker.finish(attempt, reason="interrupted")
        place_waiting_jobs()
        attempt = job.attempts.order_by("-epoch").first()
        worker.claim(attempt)
    job.refresh_from_db()
    assert job.status == "starting"


@pytest.mark.parametrize("reason", ["out_of_memory", "bad_config", "engine_exited", "not_a_number", "result_refused"])
def test_a_users_own_failure_never_reruns(team: Team, alice: User, worker: Worker, reason: str) -> None:
    job, attempt = start(team, alice, worker)
    worker.finish(attempt, exit_code=1, reason=reason, cause="the line that says why")
    place_waiting_jobs()
    job.refresh_from_db()
    assert (job.status, job.reason, job.cause) == ("failed", reason, "the line that says why")
    assert job.attempts.count() == 1


def test_a_failed_job_runs_again_on_request_as_a_new_attempt(team: Team, alice: User, worker: Worker) -> None:
    job, attempt = start(team, alice, worker)
    worker.finish(attempt, exit_code=1, reason="engine_exited")
    retry_job(job=job, user=alice)
    place_waiting_jobs()
    assert [each.epoch for each in job.attempts.all()] == [2, 1]


def test_a_server_that_stops_by_itself_failed(team: Team, alice: User, worker: Worker) -> None:
    job, attempt = start(team, alice, worker, kind="serve")
    worker.finish(attempt, exit_code=0)
    job.refresh_from_db()
    assert (job.status, job.reason) == ("failed", "engine_exited")


def test_a_result_that_cannot_be_registered_fails_the_job(
    team: Team, alice: User, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    from apps.jobs import kinds

    def refuse(job: Job) -> None:
        Job.objects.filter(pk=job.pk).update(name="half registered")
        raise LookupError("no adapter")

    monkeypatch.setitem(kinds._HANDLERS, "train", kinds.KindHandler(on_finished=refuse))
    job, attempt = start(team, alice, worker)
    assert worker.finish(attempt, exit_code=0).status_code == 200
    job.refresh_from_db()
    assert (job.status, job.reason) == ("failed", "server_error")
    assert "no adapter" in job.cause
    assert job.name == "a train job"  # what the handler had done is undone
