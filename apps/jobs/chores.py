"""While Redis is away no beat is heard; then the hosts' own sweeps have the chores done that no job can wait for:
placing, taking back, watching jobs, and telling of silent hosts."""

from __future__ import annotations

import logging
import time

from apps.fleet.broker import broker_answers
from apps.fleet.tasks import review
from apps.jobs.models import Job
from apps.jobs.scheduling import place_waiting_jobs
from apps.jobs.tasks import reap

logger = logging.getLogger(__name__)
EVERY_SECONDS = 5.0  # in each web process; jobs that wait are placed at every sweep


class _Beat:
    due_at = 0.0  # by the monotonic clock


def work_without_broker() -> None:
    """As the beat would have it. A chore that fails is logged, and takes nobody's sweep away."""
    now = time.monotonic()
    is_due = now >= _Beat.due_at
    if is_due:
        _Beat.due_at = now + EVERY_SECONDS
    if not (is_due or Job.objects.waiting().exists()) or broker_answers():
        return
    for chore in [*((review, reap) if is_due else ()), place_waiting_jobs]:
        try:
            chore()
        except Exception:
            logger.exception("Without Redis, %s failed in a host's sweep", chore.__name__)
