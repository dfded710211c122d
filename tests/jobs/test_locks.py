"""A person's word and the host's at the same moment: neither waits for the other for ever."""

from __future__ import annotations

import pytest
from django.db import OperationalError, transaction

from apps.accounts.models import Team, User
from apps.accounts.problems import Problem
from apps.fleet.models import Reservation
from apps.jobs import lifecycle
from apps.jobs.kinds import KindHandler
from apps.jobs.leases import claim_attempt
from apps.jobs.models import Attempt, Job
from apps.jobs.scheduling import place_waiting_jobs
from apps.jobs.services import cancel_job
from tests.jobs.conftest import Worker, start, submit
from tests.threads import Beside

pytestmark = pytest.mark.django_db(transaction=True)


def placed(team: Team, alice: User) -> tuple[Job, Attempt]:
    job = submit(team, alice, ram_bytes=10**9)
    place_waiting_jobs()
    return job, job.attempts.get()


def test_a_cancel_during_the_claim_frees_nothing_that_may_run(team: Team, alice: User, worker: Worker) -> None:
    job, attempt = placed(team, alice)
    with transaction.atomic():
        claim_attempt(host=worker.host, attempt_uuid=attempt.uuid, epoch=attempt.epoch)
        cancel = Beside(lambda: cancel_job(job=job, user=alice))
        cancel.until_it_waits()
    assert cancel.end() is None
    job.refresh_from_db()
    assert job.status == "cancelling"
    assert Reservation.objects.filter(holder=attempt.uuid, released_at=None).exists()


def test_a_claim_during_the_cancel_is_refused(team: Team, alice: User, worker: Worker) -> None:
    job, attempt = placed(team, alice)
    with transaction.atomic():
        Job.objects.select_for_update().get(pk=job.pk)
        claim = Beside(lambda: claim_attempt(host=worker.host, attempt_uuid=attempt.uuid, epoch=attempt.epoch))
        claim.until_it_waits()
        cancel_job(job=job, user=alice)
    refused = claim.end()
    assert isinstance(refused, Problem)
    assert refused.status == 409
    assert not Reservation.objects.filter(released_at=None).exists()


def test_trouble_of_the_database_does_not_fail_the_job(
    team: Team, alice: User, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, attempt = start(team, alice, worker)
    worker.client.raise_request_exception = False

    def trouble(job: Job) -> None:
        raise OperationalError("deadlock detected")

    with monkeypatch.context() as patch:
        patch.setattr(lifecycle, "handler_of", lambda job: KindHandler(on_finished=trouble))
        assert worker.finish(attempt, exit_code=0).status_code == 500
    assert worker.finish(attempt, exit_code=0).status_code == 200
    job.refresh_from_db()
    assert job.status == "succeeded"
