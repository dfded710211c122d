"""When each host could start one more job, behind all that wait now."""

from __future__ import annotations

from django.utils import timezone

from apps.fleet.offers import fleet_now
from apps.jobs.occupancy import tenants
from apps.jobs.queue import waiting_jobs
from apps.jobs.waits import ESTIMATED_JOBS
from apps.planning.timeline import FleetTimeline


def fleet_timeline() -> FleetTimeline:
    """Every host that takes work, with what runs there and with the head of the queue in its places."""
    now = timezone.now()
    picture = fleet_now()
    timeline = FleetTimeline(picture.hosts, tenants(picture.holders, now), now.timestamp())
    for job in waiting_jobs()[:ESTIMATED_JOBS]:
        start = timeline.earliest(job.need)
        if start is not None:
            timeline.take(job.need, start, label=job.label, seconds=job.seconds)
    return timeline
