"""What each waiting job is told: why it waits, what would start it sooner, and when it may start.

Rows are written only where something changed, and all with the same sentence at once. Expected starts
are worked out for the first of the queue; further down nobody can say.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from apps.jobs.cheaper import cheaper_now
from apps.jobs.kinds import has_cheaper_plans
from apps.jobs.models import Job, JobKind
from apps.jobs.queue import WaitingJob
from apps.jobs.states import JobStatus
from apps.planning.placement import HostOffer, Need
from apps.planning.timeline import FleetTimeline, Tenant
from apps.planning.waiting import hints, soonest

ESTIMATED_JOBS = 100  # of the queue's head
HINTED_NEEDS = 25  # different ones
REPLANNED_JOBS = 3  # of the first, whose smaller plans are tried
_SAME_START = timedelta(minutes=2)  # an estimate that moved by less is not written again


@dataclass(slots=True)
class Wait:
    job: WaitingJob
    reason: str
    hint: str = ""
    expected_start_at: datetime | None = None
    lacks_room: bool = False  # it is the fleet that has no place
    soonest: str = ""  # of the queue's head: whose end it waits for

    @property
    def whole_hint(self) -> str:
        """At most two sentences, within the column."""
        return f"{self.soonest} {self.hint}".strip()[:300]

    @property
    def is_news(self) -> bool:
        job = self.job
        told = (job.wait_reason, job.wait_hint) == (self.reason[:300], self.whole_hint)
        return not told or _moved(job.expected_start_at, self.expected_start_at)


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
    roomless = [wait for wait in waits if wait.lacks_room]
    for wait in roomless[:ESTIMATED_JOBS]:
        job = wait.job
        start = timeline.earliest(job.need)
        if start is None:
            continue
        if start.is_known:
            wait.expected_start_at = datetime.fromtimestamp(start.at, tz=now.tzinfo)
        wait.soonest = soonest(job.need, start, clock(wait.expected_start_at))
        timeline.take(job.need, start, label=job.label, seconds=job.seconds)
    told: dict[tuple[Need, int, bool], list[str]] = {}
    for wait in roomless:
        may_shrink = wait.job.kind not in (JobKind.SERVE, JobKind.EVALUATE)
        key = (wait.job.need, wait.job.ram_bytes, may_shrink)
        if key not in told and len(told) < HINTED_NEEDS:
            told[key] = hints(wait.job.need, offered, cpu_ram_bytes=wait.job.ram_bytes, may_shrink=may_shrink)
        if not wait.hint:
            wait.hint = " ".join(told.get(key, [])[: 1 if wait.soonest else 2])
    replanned = [wait for wait in roomless if has_cheaper_plans(wait.job.kind)][:REPLANNED_JOBS]
    cheaper = cheaper_now([wait.job for wait in replanned], offered)
    for wait in replanned:
        wait.hint = cheaper.get(wait.job.pk, wait.hint)


def clock(moment: datetime | None) -> str:
    """To five minutes, as nobody knows it better."""
    if moment is None:
        return ""
    local = timezone.localtime(moment)
    rounded = local + timedelta(minutes=-local.minute % 5)
    away = rounded.date() != timezone.localdate()
    return f"{rounded:%H:%M on %d %b}" if away else f"{rounded:%H:%M}"


def write_waits(waits: Sequence[Wait]) -> int:
    """Returns how many rows were written. Those that somebody else works on are told by the next look."""
    news = {wait.job.pk: wait for wait in waits if wait.is_news}
    return _write(news) if news else 0


@transaction.atomic
def _write(news: Mapping[int, Wait]) -> int:
    free = Job.objects.filter(status=JobStatus.QUEUED, pk__in=news).lock_free()
    alike: dict[tuple[str, str], list[int]] = defaultdict(list)
    single = []
    for pk in free:
        wait = news[pk]
        reason, hint = wait.reason[:300], wait.whole_hint
        if wait.soonest or wait.expected_start_at or wait.job.expected_start_at:
            at = wait.expected_start_at
            single.append(Job(pk=pk, wait_reason=reason, wait_hint=hint, expected_start_at=at))
        else:
            alike[reason, hint].append(pk)
    for (reason, hint), pks in alike.items():
        Job.objects.filter(pk__in=pks).update(wait_reason=reason, wait_hint=hint)
    Job.objects.bulk_update(single, ["wait_reason", "wait_hint", "expected_start_at"], batch_size=500)
    return len(free)


def _moved(before: datetime | None, after: datetime | None) -> bool:
    if before is None or after is None:
        return before is not after
    return abs(before - after) >= _SAME_START
