"""One decision about one waiting job, in one transaction: it starts on the host that was chosen, it first
needs another job there, or it fails with a job that it waited for."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from apps.engines.registry import get_engine
from apps.fleet import reservations
from apps.fleet.models import Host
from apps.fleet.offers import blocked_sentence
from apps.jobs import doorbell
from apps.jobs.dependencies import take_results
from apps.jobs.environments import missing_environment
from apps.jobs.kinds import handler_of
from apps.jobs.lifecycle import switch_status
from apps.jobs.models import Attempt, Job
from apps.jobs.preparations import drop_cancelled_preparations, leave_preparations
from apps.jobs.queue import NEEDS_NO_DEVICE, WaitingJob
from apps.jobs.quotas import team_limits
from apps.jobs.reasons import Reason
from apps.jobs.states import JobStatus, Owner
from apps.planning.placement import Choice


@transaction.atomic
def start_or_prepare(*, job: WaitingJob, choice: Choice) -> str:
    """Why it waits on; empty when it was started, failed over what it builds on, or is no longer waiting.

    Raises DeviceTaken or IntegrityError where the place is no longer free, CannotPrepare or NoFreePort where
    this host cannot take it; then nothing was changed.
    """
    # Team, host, job, as everybody has them (decision 0019).
    limits = team_limits([job.team_id] if job.need.gpus else [], timezone.now(), lock=True)
    host = _open_host(choice.host)
    row = _still_waiting(job.pk)
    if row is None or not take_results(row):
        return ""
    if refusal := limits.refusal(job.team_id, job.need.gpus):
        return refusal
    why = _prepare(row, host)
    if not why:
        _start_attempt(row, host, choice)
    return why


@transaction.atomic
def prepare_on(*, job_pk: int, host_name: str) -> str:
    """Why the job could not start there even with room; empty where all that it needs is there.

    Raises DeviceTaken where the host takes no work any more, CannotPrepare where nothing can bring it there.
    """
    host = _open_host(host_name)
    job = _still_waiting(job_pk)
    return _prepare(job, host) if job else "Looked at by another scheduler."


def _open_host(name: str) -> Host:
    """As it is until the transaction ends: no drain or fence comes between. Raises DeviceTaken if it takes no work."""
    host = Host.objects.select_for_update(no_key=True).filter(name=name).first()
    if host is None:
        raise reservations.DeviceTaken(f"{name} was removed")
    if blocked := blocked_sentence(host):
        raise reservations.DeviceTaken(f"{name} {blocked}")
    return host


def _prepare(job: Job, host: Host) -> str:
    """What is missing is asked for, and the job prefers this host from now on."""
    blocking = _prerequisites(job, host)
    leave_preparations(job, host)
    if not blocking:
        return ""
    job.after.add(*blocking)
    Job.objects.filter(pk=job.pk).update(prepared_on=host)
    return waits_for(blocking[0].public_id, blocking[0].name)


def _still_waiting(job_pk: int) -> Job | None:
    """None also while somebody else works on the row: whoever that is decides."""
    rows = Job.objects.waiting().select_for_update(skip_locked=True, no_key=True)
    job: Job | None = rows.filter(pk=job_pk).first()
    return job


def waits_for(label: str, name: str) -> str:
    return f"Waits for {label}: {name}"


def _prerequisites(job: Job, host: Host) -> Sequence[Job]:
    """Unfinished jobs that must succeed on this host first: the environment, then the weights."""
    install = missing_environment(job, host)
    return ([install] if install else []) + list(handler_of(job).prepare(job, host))


def _next_epoch(job: Job) -> int:
    """After the highest: a restored database does not know every attempt before an adopted one."""
    highest: int | None = job.attempts.aggregate(highest=Max("epoch"))["highest"]
    return (highest or 0) + 1


def _start_attempt(job: Job, host: Host, choice: Choice) -> None:
    attempt = Attempt(job=job, host=host, epoch=_next_epoch(job), device_indexes=list(choice.devices))
    if job.kind not in NEEDS_NO_DEVICE:
        if choice.devices:
            slots = dict(zip(choice.devices, choice.slots, strict=True))
            reservations.reserve_gpus(host=host, slots=slots, holder=attempt.uuid)
        else:
            reservations.reserve_ram(host=host, ram_bytes=job.ram_bytes_needed, holder=attempt.uuid)
    if get_engine(job.engine).kind == "serve":
        attempt.port = reservations.lease_port(host=host, holder=attempt.uuid)
    attempt.save(force_insert=True)
    where = f"{host.name}:{','.join(map(str, choice.devices))}" if choice.devices else f"{host.name}, CPU"
    switch_status(
        job,
        JobStatus.STARTING,
        by=Owner.SCHEDULER,
        what=f"Placed on {where}",
        event={"attempt": attempt},
        wait_reason="",
        wait_hint="",
        expected_start_at=None,
        not_before=None,
    )
    doorbell.wake_host(host)


@transaction.atomic
def fail_with_predecessor(*, job_pk: int) -> bool:
    """A job that waits for one that failed or was cancelled fails with it.

    But what the scheduler asked for, it asks for again where a person cancelled it: True then, the job waits no more.
    """
    job = _still_waiting(job_pk)
    if job is None:
        return False
    let_go = drop_cancelled_preparations(job)
    other = job.after.filter(status__in=[JobStatus.FAILED, JobStatus.CANCELLED]).order_by("pk").first()
    if other is None:
        return let_go
    reason = Reason.ENVIRONMENT_FAILED if other.kind == "install" else Reason.DEPENDENCY_FAILED
    if other.kind == "download" and other.reason:
        reason = Reason(other.reason)
    cause = f"{other.public_id} ({other.name}) {other.get_status_display().lower()}: {other.cause}"
    switch_status(
        job,
        JobStatus.FAILED,
        by=Owner.SCHEDULER,
        what="Failed: a job it waits for did not succeed",
        event={"tone": "bad", "detail": cause},
        reason=reason,
        cause=cause,
    )
    return False
