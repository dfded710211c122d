"""What each waiting job is told: why it waits, what would start it sooner, and when it may start.

Rows are written only where something changed, and all with the same sentence at once. Expected starts
are worked out for the first of the queue; further down nobody can say.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone

from apps.jobs.models import Job
from apps.jobs.queue import WaitingJob
from apps.jobs.states import JobStatus
from apps.planning.placement import HostOffer, Need
from apps.planning.timeline import FleetTimeline, Tenant
from apps.planning.waiting import hints, soonest

ESTIMATED_JOBS = 200  # of the queue's head
HINTED_NEEDS = 25  # different ones
_SAME_START = timedelta(minutes=2)  # an estimate that moved by less is not written again


@dataclass(slots=True)
class Wait:
    job: WaitingJob
    reason: str
    hint: str = ""
    expected_start_at: datetime | None = None
    lacks_room: bool = False  # it is the fleet that has no place


def add_estimates(
    waits: Sequence[Wait],
    hosts: Sequence[HostOffer],
    offered: Sequence[HostOffer],
    tenants: Sequence[Tenant],
    now: datetime,
) -> None:
    """Fills in hints and expected starts of those that find no room.

    `hosts` as they are after the sweep; `offered` is what of it is kept for nobody.
    """
    timeline = FleetTimeline(hosts, tenants, now.timestamp())
    told: dict[tuple[Need, int], str] = {}
    for wait in [each for each in waits if each.lacks_room][:ESTIMATED_JOBS]:
        job = wait.job
        start = timeline.earliest(job.need)
        if start is not None and start.is_known:
            wait.expected_start_at = datetime.fromtimestamp(start.at, tz=now.tzinfo)
        key = (job.need, job.ram_bytes)
        if key not in told and len(told) < HINTED_NEEDS:
            first = soonest(job.need, start, clock(wait.expected_start_at))
            told[key] = joined([first, *hints(job.need, offered, cpu_ram_bytes=job.ram_bytes)])
        if start is not None:
            timeline.take(job.need, start, label=job.label, seconds=job.seconds)
    for wait in waits:
        if wait.lacks_room:
            wait.hint = wait.hint or told.get((wait.job.need, wait.job.ram_bytes), "")


def clock(moment: datetime | None) -> str:
    """To five minutes, as nobody knows it better."""
    if moment is None:
        return ""
    local = timezone.localtime(moment)
    rounded = local + timedelta(minutes=-local.minute % 5)
    away = rounded.date() != timezone.localdate()
    return f"{rounded:%H:%M on %d %b}" if away else f"{rounded:%H:%M}"


def joined(sentences: Sequence[str]) -> str:
    """At most two, within the column."""
    return " ".join([sentence for sentence in sentences if sentence][:2])[:300]


def write_waits(waits: Sequence[Wait]) -> int:
    """Returns how many rows were written."""
    by_text: dict[tuple[str, str], list[int]] = defaultdict(list)
    moved = []
    for wait in waits:
        job, reason, hint = wait.job, wait.reason[:300], wait.hint[:300]
        if (job.wait_reason, job.wait_hint) != (reason, hint):
            by_text[reason, hint].append(job.pk)
        if _moved(job.expected_start_at, wait.expected_start_at):
            moved.append(Job(pk=job.pk, expected_start_at=wait.expected_start_at))
    for (reason, hint), pks in by_text.items():
        rows = Job.objects.filter(pk__in=pks, status=JobStatus.QUEUED)
        rows.update(wait_reason=reason, wait_hint=hint)
    if moved:
        Job.objects.filter(status=JobStatus.QUEUED).bulk_update(moved, ["expected_start_at"], batch_size=1000)
    return sum(map(len, by_text.values())) + len(moved)


def _moved(before: datetime | None, after: datetime | None) -> bool:
    if before is None or after is None:
        return before is not after
    return abs(before - after) >= _SAME_START
