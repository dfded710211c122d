"""A rerun prefers the host of the lost attempt, is told whose checkpoints count, and says where it began."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from apps.accounts.models import Team, User
from apps.fleet.models import Host
from apps.jobs.models import Attempt, Job
from apps.jobs.resuming import ROOM_BYTES
from apps.jobs.scheduling import place_waiting_jobs
from apps.jobs.services import cancel_job, retry_job
from tests.factories import make_host
from tests.jobs.conftest import Worker, start

STARTED = {"argv": ["python"], "pid": 7}


def lose(worker: Worker, attempt: Attempt, reason: str = "worker_lost") -> Job:
    assert worker.finish(attempt, reason=reason, exit_code=None).status_code == 200
    job: Job = attempt.job
    job.refresh_from_db()
    return job


def rerun(job: Job) -> Attempt:
    place_waiting_jobs()
    attempt: Attempt = job.attempts.get(ended_at=None)
    return attempt


def tell_start(worker: Worker, attempt: Attempt, resumed: dict[str, int] | None) -> None:
    """Twice, as when the first answer is lost."""
    query = f"epoch={attempt.epoch}&lease_token={attempt.lease_token}"
    for _ in range(2):
        answer = worker.call("POST", f"attempts/{attempt.uuid}/started?{query}", STARTED | {"resumed": resumed})
        assert answer.status_code == 200, answer.content


def lines(job: Job) -> list[tuple[str, str]]:
    found = job.events.filter(what__regex="^(Resumed|Starts)").values_list("what", "detail")
    return list(found)


def kept(worker: Worker, *attempts: Attempt) -> Any:
    query = "&".join(f"kept={attempt.uuid}" for attempt in attempts)
    return worker.call("GET", f"assignments?{query}").json()["kept"]


@pytest.mark.parametrize("reason", ["worker_lost", "interrupted"])
def test_a_rerun_goes_back_to_the_host_that_has_its_checkpoints(
    team: Team, alice: User, worker: Worker, reason: str
) -> None:
    job, first = start(team, alice, worker)
    make_host("aaa")
    tell_start(worker, first, None)
    assert lines(job) == []
    assert lose(worker, first, reason).prepared_on == worker.host

    second = rerun(job)
    assert second.host == worker.host
    assert worker.claim(second)["resume_from"] == [{"uuid": str(first.uuid), "epoch": 1}]
    tell_start(worker, second, {"epoch": 1, "step": 1400})
    assert lines(job) == [("Resumed from step 1,400 of attempt 1", "")]


def test_a_server_or_an_evaluation_has_nothing_to_go_on_from(team: Team, alice: User, worker: Worker) -> None:
    for kind in ("serve", "evaluate"):
        job, first = start(team, alice, worker, kind=kind)
        assert lose(worker, first).prepared_on is None
        second = rerun(job)
        assert worker.claim(second)["resume_from"] == []
        tell_start(worker, second, None)
        assert lines(job) == []


def test_a_rerun_on_another_host_says_that_it_starts_from_zero(team: Team, alice: User, worker: Worker) -> None:
    job, first = start(team, alice, worker)
    other = make_host("brio")
    lose(worker, first)
    Host.objects.filter(pk=worker.host.pk).update(cordoned=True)
    second = rerun(job)
    assert second.host == other
    Attempt.objects.filter(pk=second.pk).update(host=worker.host)  # whose token speaks for it
    Attempt.objects.filter(pk=first.pk).update(host=other)
    assert worker.claim(second)["resume_from"] == []
    tell_start(worker, second, None)
    assert lines(job) == [("Starts from zero", "Whatever attempt 1 saved lies on brio.")]


def test_a_rerun_without_a_whole_checkpoint_says_that_it_starts_from_zero(
    team: Team, alice: User, worker: Worker
) -> None:
    job, first = start(team, alice, worker)
    lose(worker, first)
    second = rerun(job)
    worker.claim(second)
    tell_start(worker, second, None)
    assert lines(job) == [("Starts from zero", "Attempt 1 left no whole checkpoint on atlas.")]


def test_an_attempt_that_was_not_taken_neither_counts_nor_draws_the_job_to_its_host(
    team: Team, alice: User, worker: Worker
) -> None:
    job, first = start(team, alice, worker)
    lose(worker, first)
    lose(worker, rerun(job), "interrupted")  # never claimed
    job.refresh_from_db()
    assert job.prepared_on is None
    assert [each["epoch"] for each in worker.claim(rerun(job))["resume_from"]] == [1]


def test_a_held_job_that_a_person_retries_goes_on_where_it_was(team: Team, alice: User, worker: Worker) -> None:
    job, attempt = start(team, alice, worker)
    Job.objects.filter(pk=job.pk).update(infrastructure_losses=3)
    assert lose(worker, attempt).status == "held"
    assert kept(worker, attempt) == [str(attempt.uuid)]
    assert retry_job(job=job, user=alice).prepared_on == worker.host


def test_a_failure_of_its_own_is_not_gone_on_from(team: Team, alice: User, worker: Worker) -> None:
    job, attempt = start(team, alice, worker)
    assert lose(worker, attempt, "out_of_memory").status == "failed"
    assert retry_job(job=job, user=alice).prepared_on is None
    assert worker.claim(rerun(job))["resume_from"] == []


def test_a_disk_that_is_still_full_draws_no_retry(team: Team, alice: User, worker: Worker) -> None:
    job, attempt = start(team, alice, worker)
    Host.objects.filter(pk=worker.host.pk).update(disk_free_bytes=ROOM_BYTES - 1)
    lose(worker, attempt, "disk_full")
    assert retry_job(job=job, user=alice).prepared_on is None


def test_after_a_full_disk_a_retry_goes_on_from_the_last_checkpoint(team: Team, alice: User, worker: Worker) -> None:
    job, attempt = start(team, alice, worker)
    assert lose(worker, attempt, "disk_full").status == "failed"
    assert kept(worker, attempt) == [str(attempt.uuid)]
    Host.objects.filter(pk=worker.host.pk).update(disk_free_bytes=ROOM_BYTES)
    assert retry_job(job=job, user=alice).prepared_on == worker.host
    second = rerun(job)
    assert worker.claim(second)["resume_from"] == [{"uuid": str(attempt.uuid), "epoch": 1}]
    lose(worker, second, "disk_full")
    Job.objects.filter(pk=job.pk).update(finished_at=timezone.now() - timedelta(days=8))
    assert kept(worker, attempt, second) == []


def test_folders_are_kept_until_the_job_is_over(team: Team, alice: User, worker: Worker) -> None:
    job, first = start(team, alice, worker)
    lose(worker, first)
    second = rerun(job)
    worker.claim(second)
    assert set(kept(worker, first, second)) == {str(first.uuid), str(second.uuid)}
    cancel_job(job=job, user=alice)
    assert len(kept(worker, first, second)) == 2  # the second may still read the first one's
    lose(worker, second, "cancelled_by_user")
    assert kept(worker, first, second) == []
    assert kept(worker) == []


def test_folders_of_another_host_are_none_of_its_business(team: Team, alice: User, worker: Worker) -> None:
    _, first = start(team, alice, worker)
    Attempt.objects.filter(pk=first.pk).update(host=make_host("brio"))
    assert kept(worker, first) == []
