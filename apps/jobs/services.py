"""Submit, cancel and retry: what a person asks of a job."""

from __future__ import annotations

from typing import Any, Protocol

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from apps.accounts.access import require_role
from apps.accounts.audit import audit
from apps.accounts.models import Role, Team, User
from apps.accounts.problems import FieldError, Problem, conflict, unknown_choice
from apps.accounts.services import lock_team
from apps.engines.base import Engine, Placement, RunSpec
from apps.engines.registry import ENGINES, FAKES, get_engine
from apps.fleet.models import Device, Host
from apps.fleet.offers import gpus_that_run
from apps.fleet.querysets import largest_device
from apps.jobs import doorbell
from apps.jobs.kinds import handler_of
from apps.jobs.lifecycle import end_attempt, fresh_start, note, switch_status
from apps.jobs.models import Job
from apps.jobs.preparations import PREPARING
from apps.jobs.quotas import require_gpu_hours
from apps.jobs.reasons import Reason
from apps.jobs.sizes import check_gpus
from apps.jobs.states import RETRYABLE, JobStatus, Owner
from apps.jobs.terms import USUAL, Terms, check_priority, check_reference
from apps.jobs.time_limits import check_limits


class JobAction(Protocol):
    """What a button on a job does."""

    def __call__(self, *, job: Job, user: User) -> Job: ...


def engines_for(kind: str) -> list[str]:
    """The names that may be asked for. The fake engines are among them only where settings say so."""
    known = [name for name in ENGINES if name not in FAKES or settings.FAKE_ENGINES]
    return [name for name in known if get_engine(name).kind == kind]


def engine_named(name: str, *, kind: str) -> Engine:
    """The engine, or Problem 422 naming the nearest one that does this kind of work."""
    known = engines_for(kind)
    if name not in known:
        raise unknown_choice("engine", name, known, noun=f"engine for {kind}")
    return get_engine(name)


def checked_options(engine: Engine, options: dict[str, object]) -> dict[str, object]:
    """The options with defaults filled in, or Problem 422 with one error for each wrong field."""
    try:
        return engine.Options.model_validate(options).model_dump(mode="json")
    except ValidationError as error:
        raise Problem(422, "Invalid options", "", [_option_error(engine, item) for item in error.errors()]) from None


def _option_error(engine: Engine, item: ErrorDetails) -> FieldError:
    field = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        problem = unknown_choice(f"options.{field}", field, engine.Options.model_fields, noun="option")
        return problem.errors[0]
    value = item.get("input")
    return FieldError(f"options.{field}", item["msg"], value if isinstance(value, str | int | float) else None)


def default_placement(engine: Engine, *, only: Host | None = None) -> tuple[str, int]:
    """(variant, GPUs) of a job that computes: one GPU where the fleet (or one host) has any on which the engine runs,
    else the CPU device."""
    return ("cuda", 1) if gpus_that_run(engine.environment, only=only) else ("cpu", 0)


def planned_device(engine: Engine, *, gpus: int, only: Host | None = None) -> Device | None:
    """For which a job is estimated: the largest GPU on which the engine runs, or the CPU of the largest host."""
    able = gpus_that_run(engine.environment, only=only) if gpus else []
    return able[0] if able else largest_device("cpu", only=only)


@transaction.atomic
def submit_job(
    *,
    team: Team,
    user: User | None,
    kind: str,
    name: str,
    spec: RunSpec,
    variant: str = "cpu",
    gpus: int = 0,
    vram_bytes: int = 0,
    gpu_share: float = 0.0,
    ram_bytes: int = 0,
    pinned_host: Host | None = None,
    terms: Terms = USUAL,
) -> Job:
    """Accepts a job: validated, stored with its preview, and looked at by the scheduler on commit.

    `vram_bytes` are needed on each GPU; 0 asks for a whole one, whatever its size. With `gpu_share` the engine takes
    that part of a GPU of at least `vram_bytes`.
    Raises Problem 403 for a role below member and a quota used up, 422 for an unknown engine or option, for a
    limit out of range and for GPUs that no host has.
    """
    if user is not None:
        require_role(user, Role.MEMBER, team)
    require_gpu_hours(team=team, gpus=gpus, time_limit_seconds=terms.time_limit_seconds)
    check_priority(terms.priority)
    check_gpus(gpus=gpus, vram_bytes=vram_bytes, only=pinned_host)
    check_limits(kind, time_limit_seconds=terms.time_limit_seconds, stall_seconds=terms.stall_seconds)
    engine = engine_named(spec.engine, kind=kind)
    for field, reference in terms.references.items():
        check_reference(engine.Options.model_fields, field, reference)
    spec = spec.model_copy(update={"options": checked_options(engine, spec.options)})
    job = Job.objects.create(
        team=team,
        created_by=user,
        kind=kind,
        name=name[:200],
        engine=spec.engine,
        spec=spec.model_dump(mode="json"),
        preview=preview_of(spec, variant),
        variant=variant,
        gpus_needed=gpus,
        vram_bytes_needed=vram_bytes,
        gpu_share_needed=gpu_share,
        spread=terms.spread,
        ram_bytes_needed=ram_bytes,
        pinned_host=pinned_host,
        references=terms.references,
        priority=terms.priority,
        time_limit_seconds=terms.time_limit_seconds,
        stall_seconds=terms.stall_seconds,
        schedule=terms.schedule,
    )
    job.after.set(terms.after)
    note(job, "Created", actor=user, detail=_taken_from(terms))
    audit(user, "job.submitted", object_id=job.public_id, object_name=job.name, team=team)
    doorbell.schedule_soon()
    return job


def preview_of(spec: RunSpec, variant: str) -> dict[str, Any]:
    """The command with named placeholders, as the job keeps it."""
    placement = Placement(variant="cuda" if variant == "cuda" else "cpu")
    return get_engine(spec.engine).command(spec, placement).model_dump(mode="json")


def _taken_from(terms: Terms) -> str:
    """What stands at its default in the preview until another job is done."""
    parts = [f"{name} from {each['from']} ({each['path']})" for name, each in terms.references.items()]
    return f"Takes {', '.join(parts)}." if parts else ""


@transaction.atomic
def cancel_job(*, job: Job, user: User | None) -> Job:
    """Asks a job to stop. A waiting job ends at once, a running one when its processes are gone.

    Asking twice is fine. Raises Problem 409 for a job that is over.
    """
    job = Job.objects.select_for_update(no_key=True).get(pk=job.pk)
    if user is not None:
        require_role(user, Role.MEMBER, job.team)
    if job.is_over:
        raise conflict(f"{job.public_id} is over ({JobStatus(job.status).label.lower()}); nothing to cancel.")
    audit(user, "job.cancelled", object_id=job.public_id, object_name=job.name, team=job.team)
    if job.status in (JobStatus.QUEUED, JobStatus.HELD):
        switch_status(
            job,
            JobStatus.CANCELLED,
            by=Owner.PERSON,
            what="Cancelled",
            event={"actor": user},
            reason=Reason.CANCELLED_BY_USER,
            cancel_requested_at=timezone.now(),
        )
    elif job.status != JobStatus.CANCELLING:
        switch_status(
            job,
            JobStatus.CANCELLING,
            by=Owner.PERSON,
            what="Asked to stop",
            event={"actor": user},
            cancel_requested_at=timezone.now(),
        )
        _stop_open_attempt(job)
    return job


def _stop_open_attempt(job: Job) -> None:
    open_attempts = job.attempts.select_for_update(of=("self",), no_key=True).filter(ended_at=None)
    attempt = open_attempts.select_related("host").first()
    if attempt is None:
        return
    if attempt.claimed_at is None:  # nothing runs yet, so nothing has to die first
        end_attempt(attempt, exit_code=None, reason=Reason.CANCELLED_BY_USER, cause="", result={})
        job.refresh_from_db()
    else:
        doorbell.wake_host(attempt.host)


@transaction.atomic
def retry_job(*, job: Job, user: User) -> Job:
    """Queues a failed, cancelled or held job again.

    Raises Problem 409 for any other and where its room refuses, 403 where the month's GPU-hours do not suffice.
    """
    require_role(user, Role.MEMBER, job.team)
    lock_team(job.team)
    job = Job.objects.select_for_update(no_key=True).get(pk=job.pk)
    if job.status not in RETRYABLE:
        label = JobStatus(job.status).label.lower()
        raise conflict(f"{job.public_id} is {label}; only a failed, cancelled or held job can run again.")
    require_gpu_hours(team=job.team, gpus=job.gpus_needed, time_limit_seconds=job.time_limit_seconds)
    handler_of(job).on_retried(job)
    # The scheduler asks for fresh installs and downloads: those that failed would fail it again, and those that go on
    # would tie it to their host.
    is_stale = Q(status__in=[JobStatus.FAILED, JobStatus.CANCELLED])
    if job.prepared_on_id is not None:
        is_stale |= Q(pinned_host=job.prepared_on_id)
    job.after.remove(*job.after.filter(is_stale, kind__in=PREPARING))
    switch_status(
        job,
        JobStatus.QUEUED,
        by=Owner.PERSON,
        what="Queued again",
        event={"actor": user},
        infrastructure_losses=0,
        cancel_requested_at=None,
        started_at=None,
        ready_at=None,
        result={},
        **fresh_start(job),
    )
    audit(user, "job.retried", object_id=job.public_id, object_name=job.name, team=job.team)
    doorbell.schedule_soon()
    return job
