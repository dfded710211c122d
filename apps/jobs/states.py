"""The life of a job, as data.

    queued ──scheduler──▶ starting ──worker──▶ running ──worker──▶ succeeded
      │  ▲                   │  │                 │  ├──worker──▶ failed
      │  └────scheduler──────┴──┼─────────────────┘  └──person───▶ cancelling ──worker──▶ cancelled
      │      (lost: rerun)      └──worker──▶ failed
      ├──person──▶ cancelled        held ──person──▶ queued | cancelled
      └──scheduler──▶ failed        (fourth loss: starting | running ──scheduler──▶ held)

The worker owns what a running process did, a person owns wishes, the scheduler owns placement.
`succeeded` is final. A person may run a `failed` or `cancelled` job again: it is queued once more and
gets a new attempt.
"""

from __future__ import annotations

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

TRANSITIONS: dict[JobStatus, set[JobStatus]] = {
    JobStatus.QUEUED: {JobStatus.STARTING, JobStatus.FAILED, JobStatus.CANCELLED},
    JobStatus.STARTING: {
        JobStatus.RUNNING,
        JobStatus.SUCCEEDED,
        JobStatus.FAILED,
        JobStatus.CANCELLING,
        JobStatus.CANCELLED,
        JobStatus.QUEUED,
        JobStatus.HELD,
    },
    JobStatus.RUNNING: {
        JobStatus.SUCCEEDED,
        JobStatus.FAILED,
        JobStatus.CANCELLING,
        JobStatus.CANCELLED,
        JobStatus.QUEUED,
        JobStatus.HELD,
    },
    JobStatus.CANCELLING: {JobStatus.CANCELLED},
    JobStatus.HELD: {JobStatus.QUEUED, JobStatus.CANCELLED},
    JobStatus.SUCCEEDED: set(),
    JobStatus.FAILED: {JobStatus.QUEUED},
    JobStatus.CANCELLED: {JobStatus.QUEUED},
}


class IllegalTransition(Exception):
    """A change of status that the diagram does not draw."""


def check_transition(before: str, after: str) -> None:
    """Raises IllegalTransition unless the diagram draws an arrow from `before` to `after`."""
    if JobStatus(after) not in TRANSITIONS[JobStatus(before)]:
        raise IllegalTransition(f"a {before} job cannot become {after}")
