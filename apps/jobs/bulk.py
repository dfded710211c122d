"""One wish for many jobs: each is asked for by itself, and those that refuse say why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from apps.accounts.models import User
from apps.accounts.problems import Problem, invalid, not_found, unknown_choice
from apps.jobs.models import Job
from apps.jobs.services import JobAction, cancel_job, retry_job

MOST_JOBS = 200
ACTIONS: dict[str, JobAction] = {"cancel": cancel_job, "retry": retry_job}


@dataclass(frozen=True)
class Outcome:
    id: str
    problem: Problem | None  # None: done


def act_on_jobs(*, user: User, action: str, ids: Sequence[str]) -> list[Outcome]:
    """In the order of `ids`, each named once. Raises Problem 422 for an unknown action and for none or over 200 ids."""
    if action not in ACTIONS:
        raise unknown_choice("action", action, ACTIONS, noun="action")
    wanted = list(dict.fromkeys(ids))
    if not 1 <= len(wanted) <= MOST_JOBS:
        raise invalid("ids", f"Choose 1 to {MOST_JOBS} jobs; these are {len(wanted)}.", value=len(wanted))
    return [Outcome(each, _act(user, ACTIONS[action], each)) for each in wanted]


def _act(user: User, act: JobAction, public_id: str) -> Problem | None:
    job = Job.objects.visible_to(user).with_public_id(public_id).first()
    if job is None:
        return not_found("job", public_id[:40])
    try:
        act(job=job, user=user)
    except Problem as problem:
        return problem
    return None
