"""An attempt that must make room: told to stop, its job queued again without a loss."""

from __future__ import annotations

from apps.accounts.models import Team, User
from apps.jobs.reasons import Reason
from apps.jobs.scheduling import place_waiting_jobs
from apps.jobs.services import cancel_job
from apps.jobs.stopping import ask_to_move
from tests.jobs.conftest import Worker, start, submit


def test_a_moved_job_is_stopped_by_its_host_and_queued_again_uncounted(team: Team, alice: User, worker: Worker) -> None:
    job, attempt = start(team, alice, worker)
    assert ask_to_move(attempt_uuid=attempt.uuid, why="atlas is drained.", actor=alice)
    assert not ask_to_move(attempt_uuid=attempt.uuid, why="again"), "it stops already"
    [listed] = worker.call("GET", "assignments").json()["attempts"]
    assert listed["cancel"] is True
    beat = {"uuid": str(attempt.uuid), "epoch": attempt.epoch, "lease_token": attempt.lease_token}
    assert worker.call("POST", "heartbeat", {"attempts": [beat]}).json()["attempts"][0]["answer"] == "cancel"
    assert worker.finish(attempt, exit_code=-15, reason="cancelled_by_user", cause="Cancelled.").status_code == 200
    job.refresh_from_db()
    attempt.refresh_from_db()
    assert (job.status, job.infrastructure_losses, attempt.reason) == ("queued", 0, Reason.PREEMPTED)
    assert job.events.filter(what="Asked to stop and run again", actor=alice, detail="atlas is drained.").exists()


def test_a_job_that_ended_well_before_it_could_stop_is_done(team: Team, alice: User, worker: Worker) -> None:
    job, attempt = start(team, alice, worker)
    ask_to_move(attempt_uuid=attempt.uuid, why="atlas is drained.")
    worker.finish(attempt, exit_code=0)
    job.refresh_from_db()
    assert job.status == "succeeded"


def test_a_server_that_ended_by_itself_while_asked_is_queued_again(team: Team, alice: User, worker: Worker) -> None:
    job, attempt = start(team, alice, worker, kind="serve")
    ask_to_move(attempt_uuid=attempt.uuid, why="atlas is drained.")
    worker.finish(attempt, exit_code=0)
    job.refresh_from_db()
    assert job.status == "queued"


def test_a_persons_cancel_wins(team: Team, alice: User, worker: Worker) -> None:
    job, attempt = start(team, alice, worker)
    ask_to_move(attempt_uuid=attempt.uuid, why="atlas is drained.")
    cancel_job(job=job, user=alice)
    worker.finish(attempt, exit_code=-15, reason="cancelled_by_user")
    job.refresh_from_db()
    assert job.status == "cancelled"


def test_an_attempt_that_nobody_claimed_moves_at_once(team: Team, alice: User, worker: Worker) -> None:
    job = submit(team, alice)
    place_waiting_jobs()
    assert ask_to_move(attempt_uuid=job.attempts.get().uuid, why="atlas is drained.")
    job.refresh_from_db()
    assert job.status == "queued"
