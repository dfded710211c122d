"""Why one job waits: what each host says to it, what would start it sooner, and who stands beside it in the queue."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from django.utils import timezone

from apps.fleet.offers import fleet_now
from apps.jobs.models import Job
from apps.jobs.occupancy import tenants
from apps.jobs.querysets import JobQuerySet
from apps.jobs.queue import WaitingJob, need_of_job, stand_of
from apps.jobs.states import JobStatus
from apps.planning.timeline import FleetTimeline, Start
from apps.planning.waiting import HostAnswer, host_answers

NEIGHBOURS = 3  # of the queue, on each side


def why_waiting(job: Job, visible: JobQuerySet) -> dict[str, Any] | None:
    """None for a job that does not wait. Neighbours that the reader may not see stay without a name."""
    if job.status != JobStatus.QUEUED:
        return None
    now = timezone.now()
    picture = fleet_now()
    timeline = FleetTimeline(picture.hosts, tenants(picture.holders, now), now.timestamp())
    answers = host_answers(need_of_job(job), picture.hosts, timeline)
    stand = stand_of(job, neighbours=NEIGHBOURS)
    return {
        "reason": job.wait_reason,
        "hint": job.wait_hint,
        "expected_start_at": job.expected_start_at,
        "place": stand.place if stand else None,
        "length": stand.length if stand else 0,
        "hosts": [_host_row(answer, now) for answer in answers],
        "neighbours": _neighbours(job, stand.near if stand else [], visible),
    }


def _host_row(answer: HostAnswer, now: datetime) -> dict[str, Any]:
    return {
        "host": answer.host,
        "offers": answer.offers,
        "needs": answer.needs,
        "blocked_by": answer.blocked_by,
        "can_ever": answer.can_ever,
        "free_at": _known_time(answer.start),
        "is_free": answer.start is not None and answer.start.at <= now.timestamp(),
    }


def _known_time(start: Start | None) -> datetime | None:
    return datetime.fromtimestamp(start.at, tz=UTC) if start is not None and start.is_known else None


def _neighbours(job: Job, near: Sequence[WaitingJob], visible: JobQuerySet) -> list[dict[str, Any]]:
    seen = set(visible.filter(pk__in=[row.pk for row in near]).values_list("pk", flat=True))
    return [
        {
            "id": row.label if row.pk in seen else None,
            "name": row.name if row.pk in seen else "A job of another team",
            "is_this": row.pk == job.pk,
            "gpus": row.need.gpus,
            "priority": row.priority,
            "expected_start_at": row.expected_start_at,
        }
        for row in near
    ]
