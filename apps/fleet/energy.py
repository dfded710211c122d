"""Energy from measured power."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import connection

from apps.fleet.models import Device
from apps.fleet.partitions import MINUTES, SAMPLES
from apps.fleet.rollups import COVERED

# Whole minutes as they were rolled up, each as far as it lies inside; then samples that no minute has yet.
_JOULES = f"""
    WITH rolled AS (SELECT coalesce(min(roll_from), %(start)s) AS until FROM fleet_hostload WHERE host_id = %(host)s)
    SELECT sum(joules) FROM (
        SELECT power_w * seconds * extract(epoch FROM
            least(at + interval '1 minute', %(end)s) - greatest(at, %(start)s)) / 60 AS joules
        FROM {MINUTES}, rolled WHERE device_id = ANY(%(devices)s) AND power_w IS NOT NULL
            AND at > %(start)s - interval '1 minute' AND at < least(%(end)s, rolled.until)
        UNION ALL
        SELECT avg(power_w) * {COVERED} FROM {SAMPLES}, rolled
        WHERE device_id = ANY(%(devices)s) AND power_w IS NOT NULL
            AND at >= greatest(%(start)s, rolled.until) AND at < %(end)s
        GROUP BY device_id, date_trunc('minute', at, 'UTC')) parts
"""  # noqa: S608  our own words


def energy_joules(*, devices: Sequence[Device], start: datetime, end: datetime) -> float | None:
    """Measured power of the GPUs of one host over the time that samples cover; None where there are none."""
    asked: dict[str, Any] = {
        "devices": [device.pk for device in devices],
        "host": devices[0].host_id,
        "start": start,
        "end": end,
    }
    with connection.cursor() as cursor:
        cursor.execute(_JOULES, asked)
        [(joules,)] = cursor.fetchall()
    return None if joules is None else float(joules)
