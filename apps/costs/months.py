"""Months as people name them in addresses: "2026-11"."""

from __future__ import annotations

from datetime import UTC, date, datetime

from apps.accounts.problems import invalid

FIRST_YEAR, LAST_YEAR = 1970, 9000  # a calendar's ends are too near to count months from


def month_named(text: str) -> date:
    """The first day of the month; this month for "". Raises Problem 422 for anything else."""
    if not text:
        return datetime.now(UTC).date().replace(day=1)
    try:
        found = datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC).date()
        if not FIRST_YEAR <= found.year <= LAST_YEAR:
            raise ValueError(text)
        return found
    except ValueError:
        raise invalid("month", "month is a year and a month, such as 2026-11.", value=text) from None


def months_back(last: date, count: int) -> list[date]:
    """`count` months, the last one first."""
    number = last.year * 12 + last.month - 1
    return [date((number - back) // 12, (number - back) % 12 + 1, 1) for back in range(count)]
