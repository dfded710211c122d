"""Every change of a job's status goes through here: a conditional UPDATE and its event, together."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import OperationalError, transaction
from django.utils import timezone

from apps.accounts.models import User
from apps.fleet import reservations
from apps.jobs import doorbell
from apps.jobs.kinds import handler_of
from apps.jobs.models import Attempt, Job, JobEvent
from apps.jobs.policies import Ending, Verdict, judge
from apps.jobs.reasons import Reason
from apps.jobs.resuming import host_to_go_on
from apps.jobs.states import FINAL, JobStatus, Owner, check_transition
from apps.jobs.time_limits import limit_sentence

logger = logging.getLogger(__name__)


def note(
    job: Job,
    what: str,
    *,
    detail: str = "",
    tone: str = "",
    actor: User | None = None,
    attempt: Attempt | None = None,
) -> None:
    """A line in the job's timeline."""
    JobEvent.objects.create(
        job=job,
        what=what[:200],
        detail=detail,
        tone=tone,
        actor=actor,
        actor_label=str(actor) if actor else "Stackweb",
        attempt=attempt,
    )


def note_start(job_id: int, at: datetime) -> None:
    """The job's first attempt began, or was first heard of."""
    Job.objects.filter(pk=job_id, started_at=None).update(started_at=at)


def switch_status(
    job: Job, to: str, *, by: Owner, what: str, event: dict[str, Any] | None = None, **fields: Any
) -> bool:
    """Moves the job to `to` and writes its event; False when somebody else moved it first.

    `fields` are further columns to set. Raises IllegalTransition for an arrow that is not drawn, or not `by`'s.
    """
    check_transition(job.status, to, by)
    fields["status"] = to
    fields["finished_at"] = timezone.now() if to in FINAL else None
    with transaction.atomic():
        moved = Job.objects.filter(pk=job.pk, status=job.status).update(**fields)
        if not moved:
            return False
        for name, value in fields.items():
            setattr(job, name, value)
        note(job, what, **(event or {}))
        if to in FINAL:
            _tell_owner_room(job)
    return True


def _tell_owner_room(job: Job) -> None:
    """The room above registers what the job made. If that fails, the job failed, and nothing is half made.

    Trouble of the database itself is not the job's: it goes up, and the end is told again.
    """
    try:
        with transaction.atomic():
            handler_of(job).on_finished(job)
    except OperationalError:
        raise
    except Exception as error:
        logger.exception("%s ended but could not be registered", job.public_id)
        sentence = f"Could not register the result: {error}"
        Job.objects.filter(pk=job.pk).update(status=JobStatus.FAILED, reason=Reason.SERVER_ERROR, cause=sentence)
        job.status, job.reason, job.cause = JobStatus.FAILED, Reason.SERVER_ERROR, sentence
        note(job, "Failed", detail=sentence, tone="bad")


def lock_attempt(uuid: UUID) -> Attempt:
    """The attempt and its job as they are now, unchanged by others until the transaction ends.

    A job is always locked before its attempts, so that a person's cancel and the host's word never
    wait for each other. Its key stays free: a row that names the job can be made meanwhile.
    """
    job = Job.objects.select_for_update(of=("self",), no_key=True).get(attempts__pk=uuid)
    attempt: Attempt = Attempt.objects.select_for_update(of=("self",), no_key=True).get(pk=uuid)
    attempt.job = job
    return attempt


@transaction.atomic
def end_attempt(attempt: Attempt, *, exit_code: int | None, reason: str, cause: str, result: dict[str, Any]) -> None:
    """Closes an attempt whose processes are all gone, frees what it held, and moves its job on.

    Closing it again changes nothing.
    """
    attempt = lock_attempt(attempt.pk)
    if attempt.ended_at is not None:
        return
    if attempt.stop_reason and _stopped_as_asked(attempt, reason):
        reason, cause = attempt.stop_reason, limit_sentence(attempt.job, attempt.stop_reason)
    elif attempt.job.status == JobStatus.CANCELLING and not reason and attempt.job.kind != "serve":
        # The person's wish counts: nothing is registered, so the attempt must not stand there as done.
        reason, cause = Reason.CANCELLED_BY_USER, "Its work had just ended by itself; the result is not kept."
    attempt.ended_at, attempt.exit_code = timezone.now(), exit_code
    attempt.reason, attempt.cause = reason, cause
    attempt.save(update_fields=["ended_at", "exit_code", "reason", "cause"])
    reservations.release_all(holder=attempt.uuid)
    _move_on(attempt.job, attempt, reason, cause, result)
    doorbell.schedule_soon()  # what it held is free


def _stopped_as_asked(attempt: Attempt, reason: str) -> bool:
    """A worker knows one order to stop, whoever gave it: what was asked for decides, unless a person cancelled."""
    job: Job = attempt.job
    stopped = reason == Reason.CANCELLED_BY_USER or (not reason and job.kind == "serve")
    return stopped and job.status != JobStatus.CANCELLING


def _move_on(job: Job, attempt: Attempt, reason: str, cause: str, result: dict[str, Any]) -> None:
    if job.status == JobStatus.CANCELLING or reason == Reason.CANCELLED_BY_USER:
        switch_status(
            job,
            JobStatus.CANCELLED,
            by=Owner.WORKER,
            what="Stopped" if job.kind == "serve" else "Cancelled",
            event={"attempt": attempt},
            reason=Reason.CANCELLED_BY_USER,
            cause="",
            result=result,
            phase="",
            stalled_at=None,
        )
    elif not reason:
        switch_status(
            job,
            JobStatus.SUCCEEDED,
            by=Owner.WORKER,
            what="Done",
            event={"attempt": attempt},
            result=result,
            progress_done=job.progress_total,  # the last heartbeat may have come before the last step
            phase="",
            stalled_at=None,
        )
    else:
        _fail_hold_or_rerun(job, attempt, reason, cause, result)


def _fail_hold_or_rerun(job: Job, attempt: Attempt, reason: str, cause: str, result: dict[str, Any]) -> None:
    verdict = judge(_ending(job, attempt, reason))
    label = Reason(reason).label
    event: dict[str, Any] = {"attempt": attempt, "detail": cause, "tone": "warn"}
    fields: dict[str, Any] = {"infrastructure_losses": verdict.losses, "phase": "", "stalled_at": None}
    if verdict.status == JobStatus.FAILED:
        what = f"Failed: {label[0].lower()}{label[1:]}"
        by, event["tone"] = Owner.WORKER, "bad"
        fields |= {"reason": reason, "cause": cause, "result": result}
    elif verdict.status == JobStatus.HELD:
        what, by = f"Held after {verdict.losses - 1} reruns", Owner.SCHEDULER
        fields |= {"reason": reason, "cause": cause}
    else:
        what, by = f"{label}; queued again", Owner.SCHEDULER
        fields |= fresh_start(job) | _backed_off(verdict, label)
    switch_status(job, verdict.status, by=by, what=what, event=event, **fields)


def _ending(job: Job, attempt: Attempt, reason: str) -> Ending:
    ready_seconds = (timezone.now() - attempt.ready_at).total_seconds() if attempt.ready_at else 0.0
    return Ending(
        kind=job.kind,
        reason=reason,
        losses=job.infrastructure_losses,
        was_ready=job.ready_at is not None,
        ready_seconds=ready_seconds,
    )


def _backed_off(verdict: Verdict, label: str) -> dict[str, Any]:
    if not verdict.backoff_seconds:
        return {}
    until = timezone.now() + timedelta(seconds=verdict.backoff_seconds)
    why = f"Starts again at {until:%H:%M:%S} UTC. Loss {verdict.losses}: {label[0].lower()}{label[1:]}."
    return {"not_before": until, "wait_reason": why}


def fresh_start(job: Job) -> dict[str, Any]:
    """What a job forgets of its earlier attempts when it is queued again, but for where it may go on."""
    return {
        "reason": "",
        "cause": "",
        "phase": "",
        "progress_done": None,
        "progress_total": None,
        "progress_at": None,
        "stalled_at": None,
        "wait_reason": "",
        "wait_hint": "",
        "expected_start_at": None,
        "not_before": None,
        "prepared_on": host_to_go_on(job),
    }
