"""Costs as CSV, one line for each attempt, day and type of device."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import date
from typing import Any

from django.http import HttpResponse

from apps.costs.querysets import CostQuerySet

COLUMNS = (
    "day", "team", "job", "name", "kind", "host", "device_type", "device_hours", "energy_kwh", "hour_price", "cost",
    "currency",
)  # fmt: skip
# A cell that begins with one of these would be a formula to a spreadsheet (CWE-1236).
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv_answer(entries: CostQuerySet, first: date) -> HttpResponse:
    """A file named after the month that begins on `first`."""
    headers = {"Content-Disposition": f'attachment; filename="stackweb-usage-{first:%Y-%m}.csv"'}
    return HttpResponse("".join(csv_lines(entries)), content_type="text/csv; charset=utf-8", headers=headers)


class _Line:
    """A file that hands back what is written to it."""

    def write(self, text: str) -> str:
        return text


def csv_lines(entries: CostQuerySet) -> Iterator[str]:
    """The header, then the entries by day."""
    writer = csv.writer(_Line())
    yield writer.writerow(COLUMNS)
    rows = entries.select_related("job", "team", "attempt__host").order_by("day", "pk")
    for entry in rows.iterator(chunk_size=500):
        yield writer.writerow([harmless(cell) for cell in _cells(entry)])


def _cells(entry: Any) -> list[Any]:
    kwh = "" if entry.energy_joules is None else f"{entry.energy_joules / 3_600_000:.6f}"
    return [
        entry.day.isoformat(),
        entry.team.slug,
        entry.job.public_id,
        entry.job.name,
        entry.job.kind,
        entry.attempt.host.name,
        entry.device_type,
        f"{entry.device_seconds / 3600:.6f}",
        kwh,
        "" if entry.hour_price is None else entry.hour_price,
        "" if entry.cost is None else entry.cost,
        entry.currency,
    ]


def harmless(cell: Any) -> Any:
    """The cell, with a mark in front of what a spreadsheet would run."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell
