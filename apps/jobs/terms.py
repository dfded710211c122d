"""How a job of any kind is to run, whatever it does: after which others, how urgently, for how long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from apps.accounts.models import User
from apps.accounts.problems import invalid, unknown_choice
from apps.jobs.models import Job, JobKind, Schedule
from apps.jobs.references import Reference, References, split_references
from apps.jobs.schemas import TermsIn
from apps.jobs.states import JobStatus

MAX_AFTER = 50
MAX_PRIORITY = 1000


@dataclass(frozen=True)
class Terms:
    after: Sequence[Job] = ()  # it waits until all of them succeeded, and fails with any of them
    references: References = field(default_factory=dict)
    priority: int = 0
    time_limit_seconds: int | None = None
    stall_seconds: int | None = None
    spread: bool = False  # the emptiest host that fits instead of the fullest
    schedule: Schedule | None = None


USUAL = Terms()


def asked_terms(user: User, asked: TermsIn, options: Mapping[str, Any]) -> tuple[dict[str, Any], Terms]:
    """The plain options, and the terms with what the other options refer to.

    Raises Problem 422 for a job that the person cannot see, that has failed, or that never ends.
    """
    plain, references = split_references(options)
    names = list(dict.fromkeys(asked.after))
    count = len({*names, *(reference["from"] for reference in references.values())})
    if count > MAX_AFTER:  # before each is looked for
        raise invalid("after", f"A job may wait for at most {MAX_AFTER} others, not {count}.")
    after = {name: awaited_job(user, f"after.{asked.after.index(name)}", name) for name in names}
    for name, reference in references.items():
        after.setdefault(reference["from"], awaited_job(user, name, reference["from"]))
    terms = Terms(
        after=list(after.values()),
        references=references,
        priority=asked.priority,
        time_limit_seconds=asked.time_limit_seconds,
        stall_seconds=asked.stall_seconds,
        spread=asked.spread,
    )
    return plain, terms


def same_terms(job: Job, schedule: Schedule | None) -> Terms:
    """Those of an earlier job, for one like it. What it waited for and took results from is over."""
    return Terms(
        priority=job.priority,
        time_limit_seconds=job.time_limit_seconds,
        stall_seconds=job.stall_seconds,
        spread=job.spread,
        schedule=schedule,
    )


def awaited_job(user: User, field_name: str, public_id: str) -> Job:
    """Raises Problem 422 for one that the person cannot see, or that will never have succeeded."""
    visible = Job.objects.visible_to(user)
    job: Job | None = visible.with_public_id(public_id).first()
    if job is None:
        known = [each.public_id for each in visible.order_by("-pk")[:50]]
        raise unknown_choice(field_name, public_id, known, noun="job")
    check_can_be_awaited(field_name, job)
    return job


def check_can_be_awaited(field_name: str, job: Job) -> None:
    """Raises Problem 422 for a job that will never have succeeded."""
    if job.kind == JobKind.SERVE:
        message = f"{job.public_id} serves until it is stopped, so nothing can come after it."
        raise invalid(field_name, message, value=job.public_id)
    if job.status in (JobStatus.FAILED, JobStatus.CANCELLED):
        label = JobStatus(job.status).label.lower()
        message = f"{job.public_id} is {label}. Run it again first, or name another job."
        raise invalid(field_name, message, value=job.public_id)


def check_priority(priority: int) -> None:
    """Raises Problem 422."""
    if not 0 <= priority <= MAX_PRIORITY:
        raise invalid("priority", f"priority must be between 0 and {MAX_PRIORITY}.", value=priority)


def check_reference(known: Mapping[str, object], name: str, reference: Reference) -> None:
    """Raises Problem 422 for an option that the engine does not have."""
    option = name.removeprefix("options.")
    if option not in known:
        raise unknown_choice(name, option, known, noun="option")
