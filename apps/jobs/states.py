"""The life of a job, as data.

    queued            ──scheduler──▶ starting | failed
    queued            ──person─────▶ cancelled
    starting          ──worker─────▶ running
    starting, running ──worker─────▶ succeeded | failed | cancelled
    starting, running ──person─────▶ cancelling
    starting, running ──scheduler──▶ queued | held
    cancelling        ──worker─────▶ cancelled
    held              ──person─────▶ queued | cancelled
    failed, cancelled ──person─────▶ queued

The worker owns what a running process did, a person owns wishes, the scheduler owns placement and reruns:
`queued` again after a loss, `held` after too many (policies.py). A test reads this table.
`succeeded` is final. A person may run a `failed` or `cancelled` job again: it is queued once more and
gets a new attempt. An install or a download that only a job which went elsewhere had wanted is cancelled like
by a person (preparations.py).
"""

from __future__ import annotations

from enum import StrEnum

from django.db import models


class JobStatus(models.TextChoices):
    QUEUED = "queued", "Queued"
    STARTING = "starting", "Starting"
    RUNNING = "running", "Running"
    CANCELLING = "cancelling", "Cancelling"
    HELD = "held", "Held"
    SUCCEEDED = "succeeded", "Done"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


FINAL = {JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED}
ACTIVE = (JobStatus.STARTING, JobStatus.RUNNING, JobStatus.CANCELLING)  # an attempt is open
RETRYABLE = (JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.HELD)  # a person may queue it again


class Owner(StrEnum):
    """Who may draw an arrow."""

    WORKER = "worker"  # what its processes did, told by the host or confirmed by an operator
    PERSON = "person"
    SCHEDULER = "scheduler"


_WORKER, _PERSON, _SCHEDULER = Owner.WORKER, Owner.PERSON, Owner.SCHEDULER
_WHILE_AN_ATTEMPT_IS_OPEN: dict[JobStatus, Owner] = {
    JobStatus.SUCCEEDED: _WORKER,
    JobStatus.FAILED: _WORKER,
    JobStatus.CANCELLED: _WORKER,
    JobStatus.CANCELLING: _PERSON,
    JobStatus.QUEUED: _SCHEDULER,
    JobStatus.HELD: _SCHEDULER,
}
TRANSITIONS: dict[JobStatus, dict[JobStatus, Owner]] = {
    JobStatus.QUEUED: {
        JobStatus.STARTING: _SCHEDULER,
        JobStatus.FAILED: _SCHEDULER,
        JobStatus.CANCELLED: _PERSON,
    },
    JobStatus.STARTING: {JobStatus.RUNNING: _WORKER} | _WHILE_AN_ATTEMPT_IS_OPEN,
    JobStatus.RUNNING: _WHILE_AN_ATTEMPT_IS_OPEN,
    JobStatus.CANCELLING: {JobStatus.CANCELLED: _WORKER},
    JobStatus.HELD: {JobStatus.QUEUED: _PERSON, JobStatus.CANCELLED: _PERSON},
    JobStatus.SUCCEEDED: {},
    JobStatus.FAILED: {JobStatus.QUEUED: _PERSON},
    JobStatus.CANCELLED: {JobStatus.QUEUED: _PERSON},
}


class IllegalTransition(Exception):
    """A change of status that the diagram does not draw, or not for this owner."""


def check_transition(before: str, after: str, by: Owner) -> None:
    """Raises IllegalTransition unless the diagram draws an arrow from `before` to `after` and it is `by`'s."""
    owner = TRANSITIONS[JobStatus(before)].get(JobStatus(after))
    if owner is None:
        raise IllegalTransition(f"a {before} job cannot become {after}")
    if owner is not by:
        raise IllegalTransition(f"a {before} job becomes {after} by the {owner}, not by the {by}")
