"""The same job again, for a schedule: as its room has it, else the same spec once more."""

from __future__ import annotations

from apps.accounts.models import User
from apps.accounts.problems import conflict, invalid
from apps.engines.base import RunSpec
from apps.jobs.kinds import handler_of, handler_of_kind
from apps.jobs.models import Job, JobKind, Schedule
from apps.jobs.services import engines_for, submit_job
from apps.jobs.terms import same_terms


def repeatable_kinds() -> list[JobKind]:
    """In the order in which people know them."""
    return [kind for kind in JobKind if engines_for(kind) and handler_of_kind(kind).repeats]


def check_repeatable(job: Job) -> None:
    """Raises Problem 422."""
    if not handler_of(job).repeats:
        message = f"{job.public_id} is of the kind {job.get_kind_display().lower()}, which cannot be repeated."
        raise invalid("job", message, value=job.public_id)


def repeat_job(job: Job, user: User, schedule: Schedule) -> Job:
    """Raises Problem where its room, or a limit of the team, refuses, and before it has what it takes from others."""
    check_repeatable(job)
    if job.references and not job.attempts.exists():
        named = ", ".join(f"{name} from {each['from']}" for name, each in sorted(job.references.items()))
        raise conflict(f"{job.public_id} was never placed, so it has not taken {named}; it is repeated once it has.")
    repeat = handler_of(job).repeat or _submit_again
    return repeat(job, user, schedule)


def _submit_again(job: Job, user: User, schedule: Schedule) -> Job:
    return submit_job(
        team=job.team,
        user=user,
        kind=job.kind,
        name=job.name,
        spec=RunSpec.model_validate(job.spec),
        variant=job.variant,
        gpus=job.gpus_needed,
        vram_bytes=job.vram_bytes_needed,
        gpu_share=job.gpu_share_needed,
        ram_bytes=job.ram_bytes_needed,
        pinned_host=job.pinned_host,
        terms=same_terms(job, schedule),
    )
