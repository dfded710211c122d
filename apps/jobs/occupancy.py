"""Who holds what, and until when: every open attempt as the planner sees it, and what is held after a restore."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Q
from django.utils import timezone

from apps.fleet.offers import Held
from apps.jobs.models import Attempt, HeldAttempt, Job, JobKind
from apps.jobs.queue import FILLERS
from apps.jobs.states import JobStatus
from apps.planning.timeline import NEVER, SOMETIME, Tenant

STOP_SECONDS = 30.0  # the grace of an attempt that was asked to stop
TRUSTED_FRACTION = 0.02  # below it a progress rate says nothing

_COLUMNS = ["uuid", "stop_reason", "claimed_at", "ready_at", "job_id", "job__kind", "job__priority"]
_COLUMNS += ["job__time_limit_seconds", "job__progress_done", "job__progress_total", "job__cancel_requested_at"]


def tenants(holders: Mapping[UUID, Held], now: datetime) -> list[Tenant]:
    rows = Attempt.objects.open().filter(Q(pk__in=holders)).values_list(*_COLUMNS)
    found = [_tenant(dict(zip(_COLUMNS, row, strict=True)), holders[row[0]], now) for row in rows]
    unknown = holders.keys() - {row[0] for row in rows}
    after_restore = HeldAttempt.objects.filter(pk__in=unknown)
    return found + [_held_tenant(each, holders[each.pk], now) for each in after_restore]


def _held_tenant(attempt: HeldAttempt, held: Held, now: datetime) -> Tenant:
    """Like a server, nobody knows its end: an admin may end it."""
    return Tenant(
        key=str(attempt.pk),
        label=attempt.label,
        host=held.host,
        devices=tuple(held.slots),
        slots=tuple(held.slots.values()),
        ram_bytes=held.ram_bytes,
        ends_at=now.timestamp() + STOP_SECONDS if attempt.is_ending else NEVER,
        started_at=attempt.found_at.timestamp(),
        is_stopping=attempt.is_ending,
    )


def _tenant(row: dict[str, Any], held: Held, now: datetime) -> Tenant:
    kind = row["job__kind"]
    is_stopping = bool(row["stop_reason"]) or row["job__cancel_requested_at"] is not None
    began = row["ready_at"] or row["claimed_at"]
    return Tenant(
        key=str(row["uuid"]),
        label=f"{Job.id_prefix}-{row['job_id']}",
        host=held.host,
        devices=tuple(held.slots),
        slots=tuple(held.slots.values()),
        ram_bytes=held.ram_bytes,
        ends_at=now.timestamp() + STOP_SECONDS
        if is_stopping
        else expected_end(
            now=now.timestamp(),
            is_server=kind == "serve",
            began=began.timestamp() if began else None,
            fraction=_fraction(row["job__progress_done"], row["job__progress_total"]),
            limit_seconds=row["job__time_limit_seconds"],
        ),
        started_at=began.timestamp() if began else now.timestamp(),
        priority=row["job__priority"],
        may_be_stopped=kind in FILLERS,
        is_stopping=is_stopping,
    )


def _fraction(done: float | None, total: float | None) -> float:
    return min(1.0, (done or 0.0) / total) if total else 0.0


def expected_end(
    *, now: float, is_server: bool, began: float | None, fraction: float, limit_seconds: int | None
) -> float:
    """By the rate of its progress, and no later than its time limit. A server has no end, and of one whose
    time has passed nobody knows it."""
    if is_server:
        return NEVER
    ends = [] if limit_seconds is None else [(began if began is not None else now) + limit_seconds]
    if began is not None and fraction >= TRUSTED_FRACTION:
        ends.append(now + (now - began) * (1 - fraction) / fraction)
    end = min(ends, default=SOMETIME)
    return end if end >= now else SOMETIME


def left_seconds(job: Job, attempt: Attempt | None) -> float | None:
    """Of a running job, by the rate of its progress; of a queued one, until it may start. None: nobody knows."""
    now = timezone.now()
    if job.status == JobStatus.QUEUED:
        return max(0.0, (job.expected_start_at - now).total_seconds()) if job.expected_start_at else None
    if job.status != JobStatus.RUNNING or job.stalled_at is not None or attempt is None or attempt.is_unknown:
        return None
    began = attempt.ready_at or attempt.claimed_at
    fraction = job.progress_fraction or 0.0
    if job.kind == JobKind.SERVE or began is None or fraction < TRUSTED_FRACTION:
        return None
    return (now - began).total_seconds() * (1 - fraction) / fraction
