"""After a backup was restored, the database knows less than the hosts: the reconcile hold.

While it is open, an attempt that is unknown here is not ended. Its host is told to hold (heartbeat) or to ask again
(503 to everything else), which workers of every version take for "run on". Its devices are reserved under its UUID. An
admin adopts it or has it end; ending the hold has all that are left end. What the database knows to be over is refused
as ever.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import NamedTuple

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from apps.accounts.audit import audit
from apps.accounts.models import User
from apps.accounts.problems import Problem, conflict
from apps.fleet import reservations
from apps.fleet.models import FleetAlert, Host
from apps.fleet.querysets import reconcile_hold
from apps.jobs import doorbell
from apps.jobs.lifecycle import note, note_start, switch_status
from apps.jobs.models import Attempt, HeldAttempt, Job
from apps.jobs.reasons import Reason
from apps.jobs.schemas import BeatIn, LeaseIn
from apps.jobs.states import JobStatus, Owner

ADOPTABLE = (JobStatus.QUEUED, JobStatus.STARTING, JobStatus.RUNNING)


@transaction.atomic
def begin_hold(*, made_at: datetime) -> None:
    """Marks this database as restored from a backup made at that time. Again: the newest restore counts."""
    text = (
        f"This database is from {made_at:%d %b %Y, %H:%M} UTC. What hosts began after that runs on, but is unknown "
        "here. Adopt or end each of it under Hardware, then end the hold."
    )
    now = timezone.now()
    FleetAlert.objects.filter(kind=FleetAlert.Kind.RESTORED, closed_at=None).update(closed_at=now)
    FleetAlert.objects.create(kind=FleetAlert.Kind.RESTORED, text=text, opened_at=now)
    Job.objects.filter(status=JobStatus.RUNNING).update(progress_at=now, stalled_at=None)  # it moved meanwhile
    audit(None, "fleet.restored", object_id="fleet", object_name="Fleet", detail={"made_at": made_at.isoformat()})


class HeldRow(NamedTuple):
    """`job` is None where the restored database has no such job."""

    held: HeldAttempt
    job: Job | None


def held_rows() -> list[HeldRow]:
    """All that are held, the one found first first; without those whose told end was taken."""
    left = HeldAttempt.objects.exclude(is_ending=True, has_ended=True)
    return [HeldRow(held, job_of(held)) for held in left.select_related("host")]


def refuse_while_held(attempt_uuid: uuid.UUID) -> None:
    """For a call about an attempt that this host does not have here. Raises Problem 503: later; 410: never."""
    held = HeldAttempt.objects.filter(pk=attempt_uuid).first()
    if held is not None and held.is_ending:
        raise Problem(410, "Ending", "This attempt is to end; nothing of it is kept.")
    if held is not None or (reconcile_hold() is not None and not Attempt.objects.filter(pk=attempt_uuid).exists()):
        raise _later("This attempt is unknown to a restored database. It runs on; ask again.")


def _later(detail: str) -> Problem:
    return Problem(503, "On hold", detail)


def refuse_old_claim(attempt: Attempt) -> None:
    """What was claimed before the restore is not begun anew during the hold: it may have ended, or run elsewhere.

    Raises Problem 503.
    """
    hold = reconcile_hold()
    if hold is not None and attempt.claimed_at is not None and attempt.claimed_at < hold.opened_at:
        raise _later("A backup was restored. What it says was running is not begun again before the hold ends.")


def beat_unknown(host: Host, beat: BeatIn) -> str:
    """hold, cancel where it is to end, or gone without a hold."""
    held = _held_or_new(host, beat)
    if held is None and Attempt.objects.filter(pk=beat.uuid).exists():
        return "hold"  # adopted while it was on its way
    if held is None or (held.host, held.epoch, held.lease_token) != (host, beat.epoch, beat.lease_token):
        return "gone"
    if held.is_ending and held.has_ended:
        return "gone"
    held.phase, held.port, held.beat_at = beat.phase or held.phase, beat.port or held.port, timezone.now()
    held.save(update_fields=["phase", "port", "beat_at"])
    if not held.is_ending:
        _keep_from_starting(held)  # before its devices, as the scheduler has them
    if not held.has_ended:
        reservations.hold_devices(host=host, devices=beat.devices, ram_bytes=beat.ram_bytes, holder=held.uuid)
    return "cancel" if held.is_ending else "hold"


def _held_or_new(host: Host, beat: BeatIn) -> HeldAttempt | None:
    """Unchanged by others until the transaction ends; made during a hold, for an attempt that nobody here knows."""
    rows = HeldAttempt.objects.select_for_update(of=("self",)).select_related("host").filter(pk=beat.uuid)
    held = rows.first()
    if held is None and reconcile_hold() is not None and not Attempt.objects.filter(pk=beat.uuid).exists():
        HeldAttempt.objects.get_or_create(
            uuid=beat.uuid,
            defaults={
                "host": host,
                "epoch": beat.epoch,
                "lease_token": beat.lease_token,
                "job_label": beat.job,
                "device_indexes": beat.devices,
            },
        )
        held = rows.first()
    return held


def _keep_from_starting(held: HeldAttempt) -> None:
    """A queued job that already runs as this attempt does not start a second time; it waits as long as it beats."""
    job = job_of(held)
    if job is not None:
        why = f"Attempt {held.epoch} of it runs on {held.host.name} since before the restore. Adopt or end it."
        until = timezone.now() + timedelta(seconds=settings.LEASE_SECONDS)
        Job.objects.filter(pk=job.pk, status=JobStatus.QUEUED).update(not_before=until, wait_reason=why)


def job_of(held: HeldAttempt) -> Job | None:
    """The job that it is an attempt of. A job made since the restore may have the number again, but is another."""
    hold = FleetAlert.objects.filter(kind=FleetAlert.Kind.RESTORED).order_by("-opened_at").first()
    found = Job.objects.with_public_id(held.job_label).filter(created_at__lt=hold.opened_at) if hold else None
    job: Job | None = found.first() if found is not None else None
    return job


@transaction.atomic
def finish_held(*, host: Host, attempt_uuid: uuid.UUID, lease: LeaseIn) -> bool:
    """True when the end of a held attempt was told and taken: its devices are free.

    Its row stays until the hold ends, so that a heartbeat that comes late does not make it anew. One that nobody has
    decided on keeps its result on its host until then (`attempt_of` answers 503), but frees its devices: the worker
    tells an end only after every process is dead.
    """
    held = HeldAttempt.objects.select_for_update().filter(pk=attempt_uuid, host=host).first()
    if held is None or (held.epoch, held.lease_token) != (lease.epoch, lease.lease_token):
        return False
    reservations.release_all(holder=held.uuid)
    doorbell.schedule_soon()
    if held.is_ending and reconcile_hold() is None:
        held.delete()
        return True
    HeldAttempt.objects.filter(pk=held.pk).update(has_ended=True)
    return held.is_ending


@transaction.atomic
def adopt_held(*, attempt_uuid: uuid.UUID, user: User) -> Job:
    """Its job goes on with it. Raises Problem 409 where there is no such job here, or it needs it no more."""
    held = _locked(attempt_uuid)
    job = job_of(held)
    if job is None:
        raise conflict(f"{held.job_label or 'Its job'} is unknown to the restored database. It can only be ended.")
    job.refresh_from_db(from_queryset=Job.objects.select_for_update(no_key=True))
    if held.host.state.is_gone:
        raise conflict(f"Attempt {held.epoch} cannot be adopted: {held.host.name} takes part no more.")
    if held.is_ending or job.status not in ADOPTABLE:
        state = "it is to end" if held.is_ending else f"{job.public_id} is {JobStatus(job.status).label.lower()}"
        raise conflict(f"Attempt {held.epoch} cannot be adopted: {state}.")
    if job.attempts.filter(epoch__gte=held.epoch).exists():
        raise conflict(f"{job.public_id} has a newer attempt than {held.epoch}. End this one.")
    _close_earlier(job, held)
    attempt = Attempt.objects.create(
        uuid=held.uuid,
        job=job,
        epoch=held.epoch,
        host=held.host,
        lease_token=held.lease_token,
        lease_expires_at=timezone.now() + timedelta(seconds=settings.LEASE_SECONDS),
        device_indexes=held.device_indexes,
        port=held.port,
        boot_id=held.host.boot_id,
        claimed_at=held.found_at,
        saw_claim=False,
    )
    note_start(job.pk, held.found_at)
    what = f"Adopted on {held.host.name}: it ran since before the restore"
    if job.status == JobStatus.QUEUED:
        fields = {"wait_reason": "", "wait_hint": "", "expected_start_at": None, "not_before": None}
        event = {"attempt": attempt, "actor": user}
        switch_status(job, JobStatus.STARTING, by=Owner.SCHEDULER, what=what, event=event, **fields)
    else:
        note(job, what, actor=user, attempt=attempt)
    held.delete()
    audit(user, "attempt.adopted", object_id=job.public_id, object_name=job.name, team=job.team)
    return job


def _close_earlier(job: Job, held: HeldAttempt) -> None:
    """A job has one open attempt at a time, so that a later one exists proves that these had ended."""
    for attempt in job.attempts.open():
        attempt.ended_at, attempt.reason = timezone.now(), Reason.INTERRUPTED
        attempt.cause = f"It had ended before attempt {held.epoch} began; the restored database had forgotten that."
        attempt.save(update_fields=["ended_at", "reason", "cause"])
        reservations.release_all(holder=attempt.uuid)


@transaction.atomic
def end_held(*, attempt_uuid: uuid.UUID, user: User) -> None:
    """Its host ends it and then frees its devices; where the host is gone for good, they are free at once."""
    held = _locked(attempt_uuid)
    _end(held)
    audit(user, "attempt.held_ended", object_id=str(held.uuid), object_name=held.job_label)


def _end(held: HeldAttempt) -> None:
    if held.host.state.is_gone:
        reservations.release_all(holder=held.uuid)
        held.delete()
    else:
        HeldAttempt.objects.filter(pk=held.pk).update(is_ending=True)
        doorbell.wake_host(held.host)


def forget_held(host: Host) -> None:
    """Of a host that was switched off, left or restarted: nothing that it ran is alive."""
    for held in HeldAttempt.objects.select_for_update().filter(host=host).order_by("pk"):
        reservations.release_all(holder=held.uuid)
        held.delete()


@transaction.atomic
def end_hold(*, user: User) -> int:
    """Everything unknown that still runs is ended, now and later; how many were. Raises Problem 409 without a hold."""
    if not FleetAlert.objects.filter(kind=FleetAlert.Kind.RESTORED, closed_at=None).update(closed_at=timezone.now()):
        raise conflict("There is no hold to end.")
    HeldAttempt.objects.filter(is_ending=True, has_ended=True).delete()
    rows = HeldAttempt.objects.select_related("host").select_for_update(of=("self",))
    left = list(rows.filter(is_ending=False).order_by("pk"))
    for held in left:
        _end(held)
    audit(user, "fleet.hold_ended", object_id="fleet", object_name="Fleet", detail={"ended": len(left)})
    doorbell.schedule_soon()
    return len(left)


def _locked(attempt_uuid: uuid.UUID) -> HeldAttempt:
    rows = HeldAttempt.objects.select_related("host").select_for_update(of=("self",))
    held = rows.filter(pk=attempt_uuid).exclude(is_ending=True, has_ended=True).first()
    if held is None:
        raise conflict("Nothing of that id is held any more. It was adopted or has ended.")
    return held
