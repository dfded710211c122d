"""First fit: takes each waiting job in turn and gives it a host, or says why it waits."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import connection, transaction

from apps.engines.registry import get_engine
from apps.fleet import reservations
from apps.fleet.broker import broker_answers
from apps.fleet.freeze import FROZEN, is_frozen
from apps.fleet.models import Device, Host
from apps.fleet.querysets import schedulable_hosts
from apps.jobs import doorbell
from apps.jobs.environments import missing_environment
from apps.jobs.kinds import CannotPrepare, handler_of
from apps.jobs.lifecycle import switch_status
from apps.jobs.models import Attempt, Job
from apps.jobs.reasons import Reason
from apps.jobs.states import JobStatus
from apps.planning.placement import Choice, DeviceOffer, HostOffer, Need, Refusal, place

_LOCK = 7_301_001  # one scheduler at a time, across processes
NEEDS_NO_DEVICE = ("install", "download", "tokenise")


def place_without_broker() -> None:
    """While the broker is away no beat is heard; then the hosts' own sweeps make the scheduler look."""
    if Job.objects.waiting().exists() and not broker_answers():
        place_waiting_jobs()


def place_waiting_jobs() -> None:
    """Looks at every waiting job once, in order of priority and age; at none while scheduling is frozen."""
    if is_frozen():
        Job.objects.waiting().exclude(wait_reason=FROZEN).update(wait_reason=FROZEN)
        return
    for pk in list(Job.objects.waiting().values_list("pk", flat=True)[:500]):
        with transaction.atomic():
            if not _is_only_scheduler():
                return
            job = Job.objects.select_for_update(skip_locked=True, of=("self",)).filter(pk=pk).first()
            if job is not None and job.status == JobStatus.QUEUED:
                _place(job)


def _is_only_scheduler() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_LOCK])
        return bool(cursor.fetchone()[0])


def _place(job: Job) -> None:
    if _waits_for_another(job):
        return
    hosts = schedulable_hosts()
    answer = place(_need(job), [_offer(host) for host in hosts])
    if isinstance(answer, Refusal):
        _wait(job, answer.reason)
        return
    host = next(host for host in hosts if host.name == answer.host)
    try:
        _prepare_or_start(job, host, answer)
    except (CannotPrepare, reservations.NoFreePort) as refusal:
        _wait(job, str(refusal))


def _prepare_or_start(job: Job, host: Host, choice: Choice) -> None:
    if blocking := _prerequisites(job, host):
        job.after.add(*blocking)
        Job.objects.filter(pk=job.pk).update(pinned_host=host)
        _wait(job, _waiting_sentence(blocking[0]))
    else:
        _start_attempt(job, host, choice)


def _waits_for_another(job: Job) -> bool:
    earlier = list(job.after.all())
    for other in earlier:
        if other.status in (JobStatus.FAILED, JobStatus.CANCELLED):
            reason = Reason.ENVIRONMENT_FAILED if other.kind == "install" else Reason.DEPENDENCY_FAILED
            if other.kind == "download" and other.reason:
                reason = Reason(other.reason)
            cause = f"{other.public_id} ({other.name}) {other.get_status_display().lower()}: {other.cause}"
            switch_status(
                job,
                JobStatus.FAILED,
                what="Failed: a job it waits for did not succeed",
                event={"tone": "bad", "detail": cause},
                reason=reason,
                cause=cause,
            )
            return True
    open_jobs = [other for other in earlier if not other.is_over]
    if open_jobs:
        _wait(job, _waiting_sentence(open_jobs[0]))
    return bool(open_jobs)


def _waiting_sentence(other: Job) -> str:
    return f"Waits for {other.public_id}: {other.name}"


def _wait(job: Job, why: str) -> None:
    if job.wait_reason != why:
        Job.objects.filter(pk=job.pk).update(wait_reason=why[:300])
        job.wait_reason = why


def _need(job: Job) -> Need:
    return Need(
        ram_bytes=0 if job.kind in NEEDS_NO_DEVICE or job.gpus_needed else job.ram_bytes_needed,
        gpus=job.gpus_needed,
        host=job.pinned_host.name if job.pinned_host else None,
        preferred_hosts=list(handler_of(job).preferred_hosts(job)),
    )


def _offer(host: Host) -> HostOffer:
    cpu = host.devices.select_for_update().filter(kind=Device.Kind.CPU).first()
    free = {gpu.pk for gpu in reservations.free_gpus(host)}
    gpus = host.devices.filter(kind=Device.Kind.GPU, is_present=True).order_by("index")
    return HostOffer(
        name=host.name,
        free_ram_bytes=reservations.free_ram_bytes(cpu) if cpu else 0,
        total_ram_bytes=cpu.capacity_bytes if cpu else 0,
        devices=[DeviceOffer(gpu.index, gpu.memory_bytes if gpu.pk in free else 0, gpu.memory_bytes) for gpu in gpus],
    )


def _prerequisites(job: Job, host: Host) -> Sequence[Job]:
    """Unfinished jobs that must succeed on this host first: the environment, then the weights."""
    install = missing_environment(job, host)
    return ([install] if install else []) + list(handler_of(job).prepare(job, host))


def _start_attempt(job: Job, host: Host, choice: Choice) -> None:
    attempt = Attempt(job=job, host=host, epoch=job.attempts.count() + 1, device_indexes=list(choice.devices))
    if get_engine(job.engine).kind == "serve":
        attempt.port = reservations.lease_port(host=host, holder=attempt.uuid)
    attempt.save(force_insert=True)
    _reserve(job, host, attempt)
    where = f"{host.name}:{','.join(map(str, choice.devices))}" if choice.devices else f"{host.name}, CPU"
    switch_status(job, JobStatus.STARTING, what=f"Placed on {where}", event={"attempt": attempt}, wait_reason="")
    doorbell.wake_host(host)


def _reserve(job: Job, host: Host, attempt: Attempt) -> None:
    if job.kind in NEEDS_NO_DEVICE:
        return
    if attempt.device_indexes:
        devices = [gpu for gpu in reservations.free_gpus(host) if gpu.index in attempt.device_indexes]
        reservations.reserve_gpus(devices=devices, holder=attempt.uuid)
    else:
        cpu = host.devices.select_for_update().get(kind=Device.Kind.CPU)
        reservations.reserve_ram(device=cpu, ram_bytes=job.ram_bytes_needed, holder=attempt.uuid)
