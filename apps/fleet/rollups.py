"""Samples become minutes, minutes become hours, GPUs become the fleet; again where samples came late.

Each host remembers from where its samples still wait (HostLoad.roll_from). Rolling a stretch twice gives the
same rows, so a run that broke off is simply run again.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta

from django.db import connection, transaction

from apps.fleet.models import FLEET_ID, DeviceHour
from apps.fleet.partitions import DAYS_KEPT, MINUTES, SAMPLES, day_of, drop_old_days, make_days

HOURS_KEPT = timedelta(days=365)

# Seconds that `count` samples cover: each the usual distance to the next, and never more than twice 5 s.
COVERED = """least(60, 10 * count(*), coalesce(
    extract(epoch FROM max(at) - min(at)) * count(*) / nullif(count(*) - 1, 0), 5))"""
COLUMNS = ("seconds", "util_percent", "util_max", "memory_bytes", "temperature_c", "power_w")


def _into(table: str, select: str) -> str:
    written = ", ".join(f"{name} = EXCLUDED.{name}" for name in COLUMNS)
    return (
        f"INSERT INTO {table} (device_id, at, {', '.join(COLUMNS)}) {select} "
        f"ON CONFLICT (device_id, at) DO UPDATE SET {written}"
    )


def mean(name: str) -> str:
    """Over the covered time of rolled-up rows."""
    return f"sum({name} * seconds) / nullif(sum(seconds) FILTER (WHERE {name} IS NOT NULL), 0)"


# A lateral part of its own for each device keeps to the index, however much history there is.
_TO_MINUTES = _into(
    MINUTES,
    f"""SELECT d.id, m.* FROM fleet_hostload l JOIN fleet_device d ON d.host_id = l.host_id CROSS JOIN LATERAL (
        SELECT date_trunc('minute', at, 'UTC'), {COVERED}, avg(util_percent), max(util_percent),
               max(memory_bytes), max(temperature_c), avg(power_w)
        FROM {SAMPLES} WHERE device_id = d.id AND at >= l.roll_from AND at < %(until)s GROUP BY 1) m
    WHERE l.roll_from < %(until)s""",  # noqa: S608
)
_TO_HOURS = _into(
    "fleet_devicehour",
    f"""SELECT d.id, h.* FROM fleet_hostload l JOIN fleet_device d ON d.host_id = l.host_id CROSS JOIN LATERAL (
        SELECT date_trunc('hour', at, 'UTC'), sum(seconds), {mean("util_percent")}, max(util_max),
               max(memory_bytes), max(temperature_c), {mean("power_w")}
        FROM {MINUTES} WHERE device_id = d.id AND at >= date_trunc('hour', l.roll_from, 'UTC') AND at < %(until)s
        GROUP BY 1) h
    WHERE l.roll_from < %(until)s""",  # noqa: S608
)
# A slice of a GPU is part of its GPU already.
_FLEET_MINUTES = _into(
    MINUTES,
    f"""SELECT {FLEET_ID}, m.at, max(m.seconds), avg(m.util_percent), max(m.util_percent), sum(m.memory_bytes),
        max(m.temperature_c), sum(m.power_w)
    FROM fleet_device d CROSS JOIN LATERAL (
        SELECT * FROM {MINUTES} WHERE device_id = d.id AND at >= %(since)s AND at < %(until)s OFFSET 0) m
    WHERE d.kind = 'gpu' AND d.mig_profile = '' GROUP BY m.at""",  # noqa: S608
)
_FLEET_HOURS = _into(
    "fleet_devicehour",
    f"""SELECT {FLEET_ID}, date_trunc('hour', at, 'UTC'), sum(seconds), {mean("util_percent")}, max(util_max),
        max(memory_bytes), max(temperature_c), {mean("power_w")}
    FROM {MINUTES} WHERE device_id = {FLEET_ID} AND at >= date_trunc('hour', %(since)s::timestamptz, 'UTC')
        AND at < %(until)s GROUP BY 2""",  # noqa: S608
)


@transaction.atomic
def roll_up(*, now: datetime) -> int:
    """Rolls up every whole minute that waits; of how many hosts. Their samples wait at the door meanwhile."""
    until = now.replace(second=0, microsecond=0)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT host_id, roll_from FROM fleet_hostload WHERE roll_from < %s ORDER BY host_id FOR UPDATE", [until]
        )
        waiting = dict(cursor.fetchall())
        if not waiting:
            return 0
        since = min(waiting.values())
        make_days(MINUTES, _days(since, until))
        for statement in (_TO_MINUTES, _TO_HOURS, _FLEET_MINUTES, _FLEET_HOURS):
            cursor.execute(statement, {"since": since, "until": until})
        cursor.execute("UPDATE fleet_hostload SET roll_from = %s WHERE host_id = ANY(%s)", [until, list(waiting)])
    return len(waiting)


def forget(*, now: datetime) -> None:
    """Drops what is past its time, and makes the tables of the days to come."""
    today = day_of(now)
    drop_old_days(today=today)
    DeviceHour.objects.filter(at__lt=now - HOURS_KEPT).delete()
    for table in DAYS_KEPT:
        make_days(table, (today, today + timedelta(days=1)))


def _days(since: datetime, until: datetime) -> list[date]:
    first = day_of(since)
    return [first + timedelta(days=number) for number in range((day_of(until) - first).days + 1)]
