"""The database itself refuses what must never be, whatever Python thinks."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from apps.fleet.models import Reservation
from apps.jobs.models import Job
from apps.jobs.states import FINAL, JobStatus
from tests.factories import make_attempt, make_host, make_job, make_team

pytestmark = pytest.mark.django_db


def refused(statement: str, *values: object) -> str:
    """The constraint that refuses the statement."""
    with pytest.raises(IntegrityError) as error, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, values)
    name: str = error.value.__cause__.diag.constraint_name  # type: ignore[union-attr]
    return name


@pytest.mark.parametrize("status", JobStatus)
def test_a_job_has_an_end_exactly_when_it_is_over(status: str) -> None:
    job = make_job(make_team(), status="succeeded")
    end = None if status in FINAL else timezone.now()
    wrong = "UPDATE jobs_job SET status = %s, finished_at = %s WHERE id = %s"
    assert refused(wrong, status, end, job.pk) == "ended_jobs_have_an_end"
    right = timezone.now() if status in FINAL else None
    assert Job.objects.filter(pk=job.pk).update(status=status, finished_at=right) == 1


def test_a_job_has_one_open_attempt() -> None:
    job, host = make_job(make_team()), make_host()
    first = make_attempt(job, host)
    second = make_attempt(job, host, ended_at=timezone.now())
    reopen = "UPDATE jobs_attempt SET ended_at = NULL WHERE uuid = %s"
    assert refused(reopen, second.uuid) == "one_open_attempt_per_job"
    first.ended_at = timezone.now()
    first.save()
    with connection.cursor() as cursor:
        cursor.execute(reopen, [second.uuid])


def test_an_attempts_number_is_its_own() -> None:
    job, host = make_job(make_team()), make_host()
    make_attempt(job, host, ended_at=timezone.now())
    other = make_attempt(job, host)
    again = "UPDATE jobs_attempt SET epoch = 1 WHERE uuid = %s"
    assert refused(again, other.uuid) == "one_attempt_per_epoch"


def test_a_slot_of_a_device_has_one_live_reservation() -> None:
    gpu = make_host(gpus=1).devices.get(kind="gpu")
    held = Reservation.objects.create(device=gpu, slot=0, holder=uuid4())
    late = Reservation.objects.create(device=gpu, slot=0, holder=uuid4(), released_at=timezone.now())
    revive = "UPDATE fleet_reservation SET released_at = NULL WHERE id = %s"
    name = refused(revive, late.pk)
    assert name in {each.name for each in Reservation._meta.constraints}
    Reservation.objects.filter(pk=held.pk).update(released_at=timezone.now())
    with connection.cursor() as cursor:
        cursor.execute(revive, [late.pk])


def test_a_priority_is_never_negative() -> None:
    job = make_job(make_team())
    assert refused("UPDATE jobs_job SET priority = -1 WHERE id = %s", job.pk) == "priority_not_negative"
