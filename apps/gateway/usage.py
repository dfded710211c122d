"""Figures of endpoints from what the gateway metered in the last hour."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db.models import Aggregate, Count, FloatField, Q, Sum
from django.db.models.functions import TruncMinute
from django.utils import timezone

from apps.gateway.models import UsageRecord

WINDOW = timedelta(hours=1)
RATE_WINDOW = timedelta(minutes=5)
SPARK_MINUTES = 2  # of one point of the sparkline


class Percentile(Aggregate):
    """The value below which `fraction` of the rows lie; rows without a value do not count."""

    function = "PERCENTILE_CONT"
    template = "%(function)s(%(fraction)s) WITHIN GROUP (ORDER BY %(expressions)s)"
    output_field = FloatField()


@dataclass(frozen=True)
class Figures:
    """Of an hour, except the rates, which are of five minutes."""

    request_count: int = 0
    requests_per_second: float = 0.0
    tokens_per_second: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    ttft_p50_ms: float | None = None
    ttft_p95_ms: float | None = None
    error_fraction: float = 0.0
    requests_by_time: list[int] = field(default_factory=list)


def figures_of(endpoint_ids: Collection[int]) -> dict[int, Figures]:
    """Figures by endpoint; an endpoint that nobody asked has empty ones."""
    now = timezone.now()
    rows = UsageRecord.objects.filter(endpoint_id__in=endpoint_ids, at__gte=now - WINDOW)
    recent = Q(at__gte=now - RATE_WINDOW)
    found = rows.values("endpoint_id").annotate(
        request_count=Count("pk"),
        recent_count=Count("pk", filter=recent),
        recent_tokens=Sum("completion_tokens", filter=recent, default=0),
        prompt_tokens=Sum("prompt_tokens"),
        completion_tokens=Sum("completion_tokens"),
        # A client that left (499) is not the endpoint's error.
        errors=Count("pk", filter=Q(status__gte=500)),
        ttft_p50_ms=Percentile("ttft_ms", fraction=0.5),
        ttft_p95_ms=Percentile("ttft_ms", fraction=0.95),
    )
    by_time = _requests_by_time(endpoint_ids)
    values: dict[int, dict[str, Any]] = {row["endpoint_id"] or 0: dict(row) for row in found}
    figures = {each: _figures(row, by_time[each]) for each, row in values.items()}
    return {each: figures.get(each, Figures()) for each in endpoint_ids}


def _figures(row: dict[str, Any], by_time: list[int]) -> Figures:
    seconds = RATE_WINDOW.total_seconds()
    return Figures(
        request_count=row["request_count"],
        requests_per_second=row["recent_count"] / seconds,
        tokens_per_second=row["recent_tokens"] / seconds,
        prompt_tokens=row["prompt_tokens"],
        completion_tokens=row["completion_tokens"],
        ttft_p50_ms=row["ttft_p50_ms"],
        ttft_p95_ms=row["ttft_p95_ms"],
        error_fraction=row["errors"] / row["request_count"],
        requests_by_time=by_time,
    )


def _requests_by_time(endpoint_ids: Collection[int]) -> dict[int, list[int]]:
    points = int(WINDOW / timedelta(minutes=SPARK_MINUTES))
    start = timezone.now().replace(second=0, microsecond=0) - WINDOW
    counted: dict[int, list[int]] = defaultdict(lambda: [0] * (points + 1))
    rows = UsageRecord.objects.filter(endpoint_id__in=endpoint_ids, at__gte=start)
    for row in rows.values("endpoint_id", minute=TruncMinute("at")).annotate(requests=Count("pk")):
        place = int((row["minute"] - start).total_seconds() // (60 * SPARK_MINUTES))
        counted[row["endpoint_id"] or 0][min(points, max(0, place))] += row["requests"]
    return counted
