"""What a host tells every few seconds of the attempts it runs: leases go on, progress is kept, phases are followed."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from pydantic import ValidationError

from apps.fleet.models import Host
from apps.fleet.operations import locked_row
from apps.jobs.leases import holds, note_claim
from apps.jobs.lifecycle import lock_attempt, switch_status
from apps.jobs.models import Attempt, Job, JobKind
from apps.jobs.progress import take_progress
from apps.jobs.reconciling import beat_unknown
from apps.jobs.schemas import BeatIn
from apps.jobs.states import JobStatus, Owner
from apps.jobs.stuck import note_stuck


def beat(*, host: Host, beats: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Renews leases and takes in progress; answers run, cancel or gone for each attempt, refused for a wrong one.

    After a restore also hold: unknown here, and to run on until an admin decides.
    """
    read = [_read(each) for each in beats]
    quiet = _renew_quiet(host, [each for each in read if isinstance(each, BeatIn)])
    return [
        each
        if isinstance(each, dict)
        else {"uuid": str(each.uuid), "answer": quiet.get(each.uuid) or _beat_one(host, each)}
        for each in read
    ]


def _read(given: dict[str, Any]) -> BeatIn | dict[str, str]:
    """What it says, or the answer that it is refused."""
    try:
        return BeatIn.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        return {"uuid": str(given.get("uuid", ""))[:60], "answer": "refused", "error": f"{field}: {first['msg']}"}


@transaction.atomic
def _renew_quiet(host: Host, told: list[BeatIn]) -> dict[uuid.UUID, str]:
    """Renews together the leases of which nothing is new but progress; the answer for each.

    A host with eight GPUs tells of eight attempts every few seconds, and mostly this. It waits for nobody: an attempt
    that somebody works on at this moment is left out; so are all where one is told of twice.
    """
    beats = {each.uuid: each for each in told}
    if not told or len(beats) < len(told):
        return {}
    jobs = Job.objects.select_for_update(of=("self",), skip_locked=True, no_key=True)
    free = {job.pk: job for job in jobs.filter(attempts__in=beats).order_by("pk")}
    attempts = Attempt.objects.select_for_update(of=("self",), skip_locked=True, no_key=True)
    renewed: dict[uuid.UUID, str] = {}
    for attempt in attempts.filter(pk__in=beats, job__in=free):
        attempt.job = free[attempt.job_id]
        if _is_quiet(host, attempt, beats[attempt.pk]):
            take_progress(attempt, beats[attempt.pk])
            renewed[attempt.pk] = _order(attempt)
    Attempt.objects.filter(pk__in=renewed).update(lease_expires_at=_renewed())
    return renewed


def _is_quiet(host: Host, attempt: Attempt, each: BeatIn) -> bool:
    """No word of it changes the attempt, or the state of its job."""
    news = (each.phase or attempt.phase, each.port or attempt.port, attempt.measurements | each.measurements)
    return (
        attempt.host_id == host.pk
        and holds(attempt, each)
        and news == (attempt.phase, attempt.port, attempt.measurements)
        and attempt.claimed_at is not None
        and attempt.job.stalled_at is None
        and not each.is_stuck
        and not _begins_work(attempt)
    )


@transaction.atomic
def _beat_one(host: Host, each: BeatIn) -> str:
    if each.is_stuck:
        locked_row(host)  # before its job, as an operator's drain or fence has it
    try:
        attempt = lock_attempt(each.uuid)
    except Job.DoesNotExist:
        return beat_unknown(host, each)
    if attempt.host_id != host.pk or not holds(attempt, each):
        return "gone"
    note_claim(attempt)
    now = timezone.now()
    take_progress(attempt, each)
    attempt.lease_expires_at = _renewed()
    attempt.phase = each.phase or attempt.phase
    attempt.port = each.port or attempt.port
    attempt.measurements = attempt.measurements | each.measurements
    if attempt.phase == "ready" and attempt.ready_at is None:
        attempt.ready_at = now
        if attempt.job.kind == JobKind.SERVE and attempt.claimed_at is not None and attempt.saw_claim:
            attempt.measurements |= {"start_seconds": (now - attempt.claimed_at).total_seconds()}
    attempt.save(update_fields=["lease_expires_at", "phase", "port", "measurements", "ready_at"])
    _follow_phase(attempt)
    if each.is_stuck:
        note_stuck(attempt)
    return _order(attempt)


def _renewed() -> datetime:
    return timezone.now() + timedelta(seconds=settings.LEASE_SECONDS)


def _order(attempt: Attempt) -> str:
    return "cancel" if attempt.must_stop else "run"


# The phases in which a job of that kind does what it was asked for; before them it is starting.
_AT_WORK = {
    "serve": {"ready"},
    "install": {"installing", "running"},
    "download": {"installing", "downloading", "loading", "running"},
}


def _begins_work(attempt: Attempt) -> bool:
    """A server runs when it answers; a batch job runs when it works."""
    works = attempt.phase in _AT_WORK.get(attempt.job.kind, {"ready", "running"})
    return works and attempt.job.status == JobStatus.STARTING and not attempt.stop_reason


def _follow_phase(attempt: Attempt) -> None:
    job: Job = attempt.job
    if _begins_work(attempt):
        what = f"Ready on {attempt.host.name}" if job.kind == "serve" else f"Running on {attempt.host.name}"
        switch_status(
            job,
            JobStatus.RUNNING,
            by=Owner.WORKER,
            what=what,
            event={"attempt": attempt, "tone": "now"},
            ready_at=attempt.ready_at,
            progress_at=timezone.now(),
        )
