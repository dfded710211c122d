"""While Redis is away no beat is heard; then the hosts' own sweeps have the control worker's chores done."""

from __future__ import annotations

import time

from apps.fleet.broker import broker_answers
from apps.fleet.tasks import review
from apps.jobs.models import Job
from apps.jobs.scheduling import place_waiting_jobs
from apps.jobs.tasks import reap

EVERY_SECONDS = 5.0  # in each web process; jobs that wait are placed at every sweep


class _Beat:
    due_at = 0.0  # by the monotonic clock


def work_without_broker() -> None:
    """Places jobs, takes back what no host claimed, and watches jobs and hosts, as the beat would have it."""
    now = time.monotonic()
    is_due = now >= _Beat.due_at
    if is_due:
        _Beat.due_at = now + EVERY_SECONDS
    if not (is_due or Job.objects.waiting().exists()) or broker_answers():
        return
    if is_due:
        review()
        reap()
    place_waiting_jobs()
