"""History by day, so that an old day is dropped and not deleted row by row. Days are UTC's."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta

from django.db import connection, transaction
from psycopg import sql

SAMPLES, MINUTES = "fleet_devicesample", "fleet_deviceminute"
DAYS_KEPT = {SAMPLES: 1, MINUTES: 31}
_LOCK = 0x5B10CE  # of Postgres' advisory locks: one at a time makes partitions


def day_of(at: datetime) -> date:
    return at.astimezone(UTC).date()


def make_days(table: str, days: Iterable[date]) -> None:
    """Partitions for these days, where they are missing. Writers of other days are not held up."""
    wanted = {_name(table, day): day for day in days}
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM unnest(%s::text[]) name WHERE to_regclass(name) IS NULL", [[*wanted]])
        for (name,) in cursor.fetchall():
            _make(table, name, wanted[name])


@transaction.atomic
def _make(table: str, name: str, day: date) -> None:
    start = datetime.combine(day, time(), UTC)
    words: dict[str, sql.Composable] = {
        "name": sql.Identifier(name),
        "table": sql.Identifier(table),
        "start": sql.Literal(start),
        "end": sql.Literal(start + timedelta(days=1)),
    }
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        cursor.execute("SELECT to_regclass(%s)", [name])
        if cursor.fetchone() != (None,):
            return
        # Made alone and then attached, which lets readers and writers of the table go on.
        for text in (
            "CREATE TABLE {name} (LIKE {table} INCLUDING CONSTRAINTS)",
            "ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ({start}) TO ({end})",
        ):
            cursor.execute(sql.SQL(text).format(**words))


def drop_old_days(*, today: date) -> list[str]:
    """Names of the partitions that went. One that is just being read stays until the next call."""
    dropped = []
    for table, days in DAYS_KEPT.items():
        oldest = _name(table, today - timedelta(days=days))
        for name in _partitions(table):
            if name < oldest:
                with transaction.atomic(), connection.cursor() as cursor:
                    cursor.execute("SET LOCAL lock_timeout = '2s'")
                    cursor.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(name)))
                dropped.append(name)
    return dropped


def _partitions(table: str) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = to_regclass(%s)", [table])
        return sorted(name for (name,) in cursor.fetchall())


def _name(table: str, day: date) -> str:
    return f"{table}_{day:%Y%m%d}"
