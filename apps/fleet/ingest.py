"""Telemetry comes in: a host's samples of one call become one COPY."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.db.models import F
from django.db.models.functions import Least

from apps.fleet.models import Device, DeviceSample, Host, HostLoad
from apps.fleet.partitions import SAMPLES, day_of, make_days
from apps.fleet.schemas import SampleIn

OLDEST = timedelta(days=1)  # older samples have no place any more
AHEAD = timedelta(minutes=10)  # a host's clock may be so much ahead of ours
# Percent, bytes, °C, W. Beyond them a sensor is broken, and a sum over the fleet could be beyond any number.
LIMITS = ((0, 1000), (0, 1 << 50), (-100, 1000), (0, 100_000))


class Row(NamedTuple):
    """A DeviceSample, in the order of the COPY."""

    device_id: int
    at: datetime
    util_percent: float | None
    memory_bytes: int | None
    temperature_c: float | None
    power_w: float | None


@transaction.atomic
def record_telemetry(*, host: Host, samples: Sequence[SampleIn], now: datetime) -> int:
    """How many new measurements were kept. Samples sent twice change nothing; too old ones are let go."""
    newest = max(samples, key=lambda sample: sample.at)
    rows = _rows(host, samples, now)
    begin = min((row.at for row in rows), default=now).replace(second=0, microsecond=0)
    heard = _note_load(host, newest, begin, now)
    make_days(SAMPLES, {day_of(row.at) for row in rows})
    # Nothing stored is newer than what was heard, so newer rows cannot meet any.
    if heard is None or any(row.at <= heard for row in rows):
        _add_missing(rows)
    else:
        copy_rows(rows)
    Host.objects.filter(pk=host.pk).update(
        last_seen_at=now, disk_free_bytes=newest.disk_free_bytes or F("disk_free_bytes")
    )
    return len(rows)


def _rows(host: Host, samples: Sequence[SampleIn], now: datetime) -> list[Row]:
    """One for each device and moment; GPUs that no inventory has named yet are left out."""
    known = dict(Device.objects.filter(host=host).values_list("uuid", "pk"))
    found: dict[tuple[int, datetime], Row] = {}
    for sample in samples:
        if not now - OLDEST <= sample.at <= now + AHEAD:
            continue
        loads: list[tuple[str, Any]] = [("cpu", (sample.cpu_percent, sample.ram_used_bytes, None, None))]
        loads += [
            (gpu.uuid, (gpu.util_percent, gpu.memory_used_bytes, gpu.temperature_c, gpu.power_w)) for gpu in sample.gpus
        ]
        for uuid, figures in loads:
            if uuid in known:
                found.setdefault((known[uuid], sample.at), Row(known[uuid], sample.at, *_possible(figures)))
    return list(found.values())


def _possible(figures: Sequence[Any]) -> list[Any]:
    """None in place of what cannot be."""
    pairs = zip(figures, LIMITS, strict=True)
    return [None if value is None or not low <= value <= high else value for value, (low, high) in pairs]


def _note_load(host: Host, newest: SampleIn, begin: datetime, now: datetime) -> datetime | None:
    """Shows the newest sample and keeps its row locked, so that a host's calls come one after the other.

    Until when was heard before; None for the first time.
    """
    load = HostLoad.objects.select_for_update().filter(host=host).values_list("at").first()
    at = min(newest.at, now + AHEAD)
    shown: dict[str, Any] = {
        "cpu_percent": newest.cpu_percent,
        "ram_used_bytes": newest.ram_used_bytes,
        "gpus": [gpu.model_dump() for gpu in newest.gpus],
    }
    if load is None:
        HostLoad.objects.bulk_create([HostLoad(host=host, at=at, roll_from=begin, **shown)], ignore_conflicts=True)
        return None
    heard: datetime = load[0]
    is_news = at >= heard or heard > now  # a clock that was ahead and was set right
    HostLoad.objects.filter(host=host).update(
        at=max(at, heard), roll_from=Least(F("roll_from"), begin), **(shown if is_news else {})
    )
    return heard


def copy_rows(rows: Sequence[Row]) -> None:
    """Raises IntegrityError when one is there already."""
    if rows:
        with (
            connection.cursor() as cursor,
            cursor.copy(f"COPY {SAMPLES} ({', '.join(Row._fields)}) FROM STDIN") as copy,
        ):
            for row in rows:
                copy.write_row(row)


def _add_missing(rows: Sequence[Row]) -> None:
    DeviceSample.objects.bulk_create(
        [DeviceSample(**row._asdict()) for row in rows], ignore_conflicts=True, batch_size=1000
    )
