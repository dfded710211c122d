"""How a device fared over time, in as many points as a chart can show and from the table that has them cheaply."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import Any

from django.db import connection

from apps.fleet.partitions import MINUTES, SAMPLES
from apps.fleet.rollups import HOURS_KEPT, mean

POINTS = 720
METRICS = ("util_percent", "util_max", "memory_bytes", "temperature_c", "power_w")


@dataclass(frozen=True, slots=True)
class Tier:
    table: str
    step_seconds: int  # no finer: samples come every 5 s or so, and each step shall have one
    longest: timedelta  # a span that is still cheap to read from here
    kept: timedelta
    figures: str  # METRICS, in order


_MEAN_OF_MEANS = f"{mean('util_percent')}, max(util_max), max(memory_bytes), max(temperature_c), {mean('power_w')}"
TIERS = (
    Tier(
        SAMPLES, 10, timedelta(hours=2), timedelta(days=1),
        "avg(util_percent), max(util_percent), max(memory_bytes), max(temperature_c), avg(power_w)",
    ),
    Tier(MINUTES, 60, timedelta(days=2), timedelta(days=31), _MEAN_OF_MEANS),
    Tier("fleet_devicehour", 3600, HOURS_KEPT, HOURS_KEPT, _MEAN_OF_MEANS),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class History:
    """`values[metric][n]` is of the `step_seconds` from `times[n]` on; None where nothing was measured."""

    step_seconds: int
    times: list[int]  # seconds since 1970
    values: dict[str, list[float | None]]


def device_history(device_id: int, start: datetime, end: datetime, *, now: datetime) -> History:
    """At most 720 points from `start` to `end`; FLEET_ID asks for all GPUs together."""
    tier = next((each for each in TIERS if _has(each, start, end, now)), TIERS[-1])
    span = (end - start).total_seconds()
    step = tier.step_seconds * max(1, ceil(span / tier.step_seconds / POINTS))
    first = ceil(start.timestamp() / step) * step
    times = list(range(first, ceil(end.timestamp()), step))[:POINTS]
    rows = _read(tier, device_id, first, end, step) if times else {}
    if times and times[-1] not in rows:
        times.pop()  # it has only begun
    nothing = (None,) * len(METRICS)
    columns = zip(*(rows.get(at, nothing) for at in times), strict=True) if times else [()] * len(METRICS)
    return History(step, times, {name: list(column) for name, column in zip(METRICS, columns, strict=True)})


def _has(tier: Tier, start: datetime, end: datetime, now: datetime) -> bool:
    return end - start <= tier.longest and start >= now - tier.kept


def _read(tier: Tier, device_id: int, first: int, end: datetime, step: int) -> dict[int, Sequence[float | None]]:
    query = f"""
        SELECT extract(epoch FROM bin)::bigint, {tier.figures} FROM (
            SELECT date_bin(%(step)s * interval '1 second', at, 'epoch') AS bin, * FROM {tier.table}
            WHERE device_id = %(device)s AND at >= to_timestamp(%(first)s) AND at < %(end)s) found
        GROUP BY bin
    """  # noqa: S608  our own words
    asked: dict[str, Any] = {"step": step, "device": device_id, "first": first, "end": end}
    with connection.cursor() as cursor:
        cursor.execute(query, asked)
        return {row[0]: row[1:] for row in cursor.fetchall()}


def recent_load(device_ids: Sequence[int], *, now: datetime) -> dict[int, list[float]]:
    """Utilisation by minute over the last hour, oldest first, for a sparkline of each device."""
    query = f"""SELECT device_id, array_agg(coalesce(util_percent, 0) ORDER BY at) FROM {MINUTES}
        WHERE device_id = ANY(%s) AND at >= %s AND at < %s GROUP BY device_id"""  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(query, [list(device_ids), now - timedelta(hours=1), now])
        return dict(cursor.fetchall())
