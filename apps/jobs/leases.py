"""What the worker may do to an attempt: only while its epoch and lease token hold."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from apps.accounts.problems import Problem, conflict, invalid, not_found, too_large
from apps.accounts.services import lock_team
from apps.engines.base import RunSpec
from apps.engines.registry import get_engine
from apps.fleet.boots import check_boot, note_boot
from apps.fleet.models import Host
from apps.jobs.attempt_logs import append_log
from apps.jobs.blobs import put_pieces
from apps.jobs.kinds import CannotPrepare, handler_of
from apps.jobs.lifecycle import end_attempt, lock_attempt, note, note_start
from apps.jobs.models import Attempt, Job, MetricPoint, Output
from apps.jobs.policies import POLICIES
from apps.jobs.progress import note_movement
from apps.jobs.reasons import Reason
from apps.jobs.reconciling import refuse_old_claim, refuse_while_held
from apps.jobs.resuming import beginning, lost_attempts
from apps.jobs.schemas import ClaimOut, FinishIn, LeaseIn, LostAttemptOut, PlacementOut, PointIn, StartedIn
from apps.jobs.time_limits import ordered_stall_seconds

STOP_GRACE_SECONDS = 30
MAX_RESULT_BYTES = 1024 * 1024  # as JSON; what is longer belongs into an output file
MAX_NAME = 300  # characters of an output file's name
MAX_OUTPUT_MIB = 512  # of one file: the samples of ten thousand questions with long prompts have a few hundred


def attempt_of(host: Host, attempt_uuid: uuid.UUID) -> Attempt:
    """Raises Problem 404 for an attempt of another host: to this one it does not exist.

    After a restore, one that is unknown is neither accepted nor ended: 503, and the worker asks again.
    """
    found: Attempt | None = Attempt.objects.select_related("job", "host").filter(pk=attempt_uuid, host=host).first()
    if found is None:
        raise _unknown(attempt_uuid)
    return found


def _unknown(attempt_uuid: uuid.UUID) -> Problem:
    refuse_while_held(attempt_uuid)
    return not_found("attempt", str(attempt_uuid))


def check_held(host: Host, attempt_uuid: uuid.UUID, lease: LeaseIn) -> None:
    """Raises Problem 409 unless this is the lease of an open attempt; it may end at the next moment."""
    _check_lease(attempt_of(host, attempt_uuid), lease)


def lock_held(host: Host, attempt_uuid: uuid.UUID, lease: LeaseIn) -> Attempt:
    """The open attempt whose lease this is, which stays open until the transaction ends.

    Raises Problem 409 for a stale one, also for one whose end came while this waited. Two statements: logs and
    metrics come by often.
    """
    try:
        attempt = lock_attempt(attempt_uuid)
    except Job.DoesNotExist:
        raise _unknown(attempt_uuid) from None
    if attempt.host_id != host.pk:
        raise _unknown(attempt_uuid)
    _check_lease(attempt, lease)
    note_claim(attempt)
    return attempt


def holds(attempt: Attempt, lease: LeaseIn) -> bool:
    """Whether this is the lease of the attempt, and it is open."""
    return attempt.ended_at is None and (attempt.epoch, attempt.lease_token) == (lease.epoch, lease.lease_token)


def _check_lease(attempt: Attempt, lease: LeaseIn) -> None:
    if not holds(attempt, lease):
        raise conflict("This lease is not the attempt's open one. End what runs under it.")


def note_claim(attempt: Attempt) -> None:
    """Only a claim hands out the token; a database restored from before it has forgotten that."""
    if attempt.claimed_at is None:
        attempt.claimed_at, attempt.saw_claim = timezone.now(), False
        attempt.save(update_fields=["claimed_at", "saw_claim"])
        note_start(attempt.job_id, attempt.claimed_at)


@transaction.atomic
def claim_attempt(*, host: Host, attempt_uuid: uuid.UUID, epoch: int, boot_id: str = "") -> ClaimOut:
    """Starts the lease and hands out spec and placement; the same host may ask again.

    Raises Problem 409 for an attempt that is over, and for a claim that was sent before the host restarted: the
    inventory would then end what it runs since.
    """
    note_boot(host=host, boot_id=boot_id)
    attempt = lock_attempt(attempt_of(host, attempt_uuid).pk)
    check_boot(host=host, boot_id=boot_id)  # another claim may have come before this one got the lock
    if attempt.ended_at is not None or attempt.epoch != epoch:
        raise conflict("This attempt is over or was replaced.")
    refuse_old_claim(attempt)
    try:
        spec = handler_of(attempt.job).resolve(attempt.job, host)
    except CannotPrepare as gone:  # unclaimed, it goes back to the queue, and the files are brought again
        raise conflict(str(gone)) from None
    now = timezone.now()
    attempt.claimed_at = attempt.claimed_at or now
    attempt.lease_expires_at = now + timedelta(seconds=settings.LEASE_SECONDS)
    attempt.boot_id = boot_id or host.boot_id
    attempt.save(update_fields=["claimed_at", "lease_expires_at", "boot_id"])
    note_start(attempt.job_id, now)
    return ClaimOut(
        job=attempt.job.public_id,
        lease_token=attempt.lease_token,
        lease_seconds=settings.LEASE_SECONDS,
        spec=spec.model_dump(mode="json"),
        placement=_placement(attempt, host, spec),
        stop_grace_seconds=STOP_GRACE_SECONDS,
        start_timeout_seconds=POLICIES[attempt.job.kind].start_timeout_seconds,
        stall_seconds=ordered_stall_seconds(attempt.job),
        secrets=handler_of(attempt.job).secrets(attempt.job),
        resume_from=[
            LostAttemptOut(uuid=lost.uuid, epoch=lost.epoch) for lost in lost_attempts(attempt.job).filter(host=host)
        ],
    )


def _placement(attempt: Attempt, host: Host, spec: RunSpec) -> PlacementOut:
    return PlacementOut(
        variant=attempt.job.variant,
        devices=attempt.device_indexes,
        port=attempt.port or 0,
        model_path=spec.model.path if spec.model else "",
        adapter_path=spec.model.adapter_path if spec.model else "",
        cpu_count=host.cpu_count,
        ram_bytes=attempt.job.ram_bytes_needed,
    )


@transaction.atomic
def record_started(*, host: Host, attempt_uuid: uuid.UUID, lease: LeaseIn, started: StartedIn) -> None:
    """Keeps exactly what ran, for the page and for whoever runs it again; told twice, it is noted once."""
    attempt = lock_held(host, attempt_uuid, lease)
    if not attempt.ran and (line := beginning(attempt, started.resumed)):
        note(attempt.job, **line, attempt=attempt)
    Attempt.objects.filter(pk=attempt.pk).update(ran=started.model_dump(mode="json"))


@transaction.atomic
def record_log(*, host: Host, attempt_uuid: uuid.UUID, lease: LeaseIn, offset: int, data: bytes) -> int:
    """The size now. Raises Problem 409 for a gap, see append_log."""
    return append_log(attempt=lock_held(host, attempt_uuid, lease), offset=offset, data=data)


@transaction.atomic
def record_metrics(*, host: Host, attempt_uuid: uuid.UUID, lease: LeaseIn, points: list[PointIn]) -> None:
    """Points of the attempt's named series; one sent twice changes nothing."""
    attempt = lock_held(host, attempt_uuid, lease)
    MetricPoint.objects.bulk_create(
        [MetricPoint(attempt=attempt, name=p.name[:60], step=p.step, value=p.value, at=p.at) for p in points],
        ignore_conflicts=True,
    )
    if points:
        note_movement(attempt.job)


def store_output(*, host: Host, attempt_uuid: uuid.UUID, lease: LeaseIn, name: str, pieces: Iterable[bytes]) -> Output:
    """Keeps a result file; the same name sent again replaces it.

    Raises Problem 422 for a name out of range and 413 for a file that is too large.
    """
    check_held(host, attempt_uuid, lease)  # before its bytes are kept, which takes a while
    if not 1 <= len(name) <= MAX_NAME:
        raise invalid("name", f"A file's name has 1 to {MAX_NAME} characters.", value=name[:MAX_NAME])
    blob = put_pieces(_within_limit(name, pieces))
    with transaction.atomic():
        attempt = lock_held(host, attempt_uuid, lease)
        output, _ = Output.objects.update_or_create(
            attempt=attempt,
            name=name,
            defaults={"job_id": attempt.job_id, "sha256": blob.sha256, "size_bytes": blob.size_bytes},
        )
    return output


def _within_limit(name: str, pieces: Iterable[bytes]) -> Iterator[bytes]:
    size_bytes = 0
    for piece in pieces:
        size_bytes += len(piece)
        if size_bytes > MAX_OUTPUT_MIB * 1024**2:
            raise too_large("file", f"{name} has more than {MAX_OUTPUT_MIB} MiB, the limit of a result file.")
        yield piece


@transaction.atomic
def finish_attempt(*, host: Host, attempt_uuid: uuid.UUID, body: FinishIn) -> None:
    """The worker's last word: everything of the attempt is dead. Saying it again changes nothing.

    Raises Problem 413 for a result that is too large; the worker then says that it failed.
    """
    size = len(json.dumps(body.result).encode())
    if size > MAX_RESULT_BYTES:
        message = f"The result has {size:,} bytes; {MAX_RESULT_BYTES:,} is the limit. Put rows into an output file."
        raise too_large("result", message)
    found = attempt_of(host, attempt_uuid)
    if handler_of(found.job).writes_catalogue:
        lock_team(found.job.team)
    attempt = lock_attempt(found.pk)
    if (attempt.epoch, attempt.lease_token) != (body.epoch, body.lease_token):
        raise conflict("This lease is not the attempt's. End what runs under it.")
    reason = body.reason or ""
    cause = body.cause
    if not reason and get_engine(attempt.job.engine).kind == "serve" and not attempt.must_stop:
        reason, cause = Reason.ENGINE_EXITED, cause or "The engine stopped by itself."
    Attempt.objects.filter(pk=attempt.pk, ended_at=None).update(measurements=attempt.measurements | body.measurements)
    end_attempt(attempt, exit_code=body.exit_code, reason=reason, cause=cause, result=body.result)
