"""How many jobs wait, and for what; counts alone, so everybody sees them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import BooleanField, Count, Exists, ExpressionWrapper, Min, OuterRef, Q

from apps.dashboard.words import count_of
from apps.jobs.models import Job


@dataclass(frozen=True)
class Waiting:
    need: str
    count: int
    oldest_at: datetime
    expected_at: datetime | None  # the first of them; None while nobody can say


def waiting_by_need() -> list[Waiting]:
    """The most wanted first, in one query."""
    rows = (
        Job.objects.waiting()
        .order_by()
        .values(
            "gpus_needed",
            is_after=Exists(Job.objects.open().filter(followers=OuterRef("pk"))),
            needs_memory=ExpressionWrapper(Q(ram_bytes_needed__gt=0), BooleanField()),
        )
        .annotate(count=Count("pk"), oldest_at=Min("created_at"), expected_at=Min("expected_start_at"))
    )
    totals: dict[str, Waiting] = {}
    for row in rows:
        need = _need(row["is_after"], row["gpus_needed"], row["needs_memory"])
        totals[need] = _sum(totals.get(need), Waiting(need, row["count"], row["oldest_at"], row["expected_at"]))
    return sorted(totals.values(), key=lambda row: (-row.count, row.need))


def _need(is_after: bool, gpus: int, needs_memory: bool) -> str:
    if is_after:
        return "another job"
    if gpus:
        return count_of(gpus, "GPU")
    return "memory" if needs_memory else "a host"


def _sum(one: Waiting | None, other: Waiting) -> Waiting:
    if one is None:
        return other
    expected = [at for at in (one.expected_at, other.expected_at) if at]
    return Waiting(
        one.need, one.count + other.count, min(one.oldest_at, other.oldest_at), min(expected) if expected else None
    )
