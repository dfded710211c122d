"""Time series of what the gateway metered, as static/js/charts.js draws them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db.models import DateTimeField, F, Func, QuerySet, Sum, Value
from django.utils import timezone

from apps.gateway.models import UsageRecord
from apps.gateway.usage import WINDOW, Percentile

STEP = timedelta(minutes=2)
LONG_WINDOW, LONG_STEP = timedelta(hours=6), timedelta(minutes=10)
LINES = 5  # in one chart; the last one stands for all others


def endpoint_charts(endpoint_id: int) -> dict[str, Any] | None:
    """Tokens per second and time to first token of the last hour; None if nobody asked."""
    times, start_of, rows = _binned(UsageRecord.objects.filter(endpoint_id=endpoint_id), WINDOW, STEP)
    found = rows.values(bin=start_of).annotate(
        output=Sum("completion_tokens"),
        input=Sum("prompt_tokens"),
        p50=Percentile("ttft_ms", fraction=0.5),
        p95=Percentile("ttft_ms", fraction=0.95),
    )
    by_time = {row["bin"]: row for row in found.order_by()}
    if not by_time:
        return None
    seconds = STEP.total_seconds()
    rates = {name: {at: row[name] / seconds for at, row in by_time.items()} for name in ("output", "input")}
    waits = {name: {at: row[name] for at, row in by_time.items()} for name in ("p50", "p95")}
    return {
        "throughput": _spec("tok/s", [_line(name, times, values, 0.0) for name, values in rates.items()]),
        "ttft": _spec("ms", [_line(name, times, values, None) for name, values in waits.items()]),
    }


def output_chart(usage: QuerySet[UsageRecord]) -> dict[str, Any] | None:
    """Output tokens per second of the last six hours, a line for each route, the busiest first."""
    times, start_of, rows = _binned(usage.filter(status=200), LONG_WINDOW, LONG_STEP)
    found = list(rows.values("route", bin=start_of).annotate(tokens=Sum("completion_tokens")).order_by())
    totals: Counter[str] = Counter()
    for row in found:
        totals[row["route"]] += row["tokens"]
    if not totals:
        return None
    named = [name for name, _ in totals.most_common(LINES if len(totals) <= LINES else LINES - 1)]
    values: dict[str, dict[datetime, float]] = {name: {} for name in named}
    for row in found:
        line = values.setdefault(row["route"] if row["route"] in named else "others", {})
        line[row["bin"]] = line.get(row["bin"], 0.0) + row["tokens"] / LONG_STEP.total_seconds()
    return _spec("tok/s", [_line(name, times, line, 0.0) for name, line in values.items()])


def _binned(
    rows: QuerySet[UsageRecord], window: timedelta, step: timedelta
) -> tuple[list[datetime], Func[Any], QuerySet[UsageRecord]]:
    """Starts of the whole steps of the window, the step of a row, and the rows within.

    The step that is still filling up is left out: its rate would look like a drop.
    """
    end = timezone.now().replace(second=0, microsecond=0)
    start = end - window
    times = [start + number * step for number in range(int(window / step))]
    start_of = Func(Value(step), F("at"), Value(start), function="date_bin", output_field=DateTimeField())
    return times, start_of, rows.filter(at__gte=start, at__lt=end)


def _line(
    name: str, times: Iterable[datetime], values: Mapping[datetime, float | None], gap: float | None
) -> dict[str, Any]:
    """`gap` stands where a step has no value: 0 for a rate, None (a gap) for a measurement."""
    known = [(at, values.get(at, gap)) for at in times]
    return {
        "name": name,
        "kind": "line",
        "steps": [int(at.timestamp()) for at, _ in known],
        "values": [None if value is None else round(value, 2) for _, value in known],
    }


def _spec(unit: str, series: list[dict[str, Any]]) -> dict[str, Any]:
    return {"x": "time", "zero": True, "unit": unit, "series": series}
