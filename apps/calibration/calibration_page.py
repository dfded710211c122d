"""What the Calibration page shows: measured against estimated, by quantity, device and engine."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from apps.accounts.models import User
from apps.calibration.comparisons import TITLES
from apps.calibration.ledger import Entry, Group, entries, family_groups, groups
from apps.jobs.models import Job
from apps.statistics.accuracy import LEAST_RUNS

LEFT, RIGHT, TOP, BOTTOM = 104, 520, 12, 300  # the plot inside a picture of 540 x 340
WORST = 6


@dataclass(frozen=True, slots=True)
class Dot:
    x: float
    y: float
    words: str


@dataclass(frozen=True, slots=True)
class Plot:
    """Estimated across, measured up, both on one log scale; on the diagonal an estimate was right."""

    dots: list[Dot]
    ticks: list[tuple[float, float, float]]  # across, up, value
    unit: str


def calibration_page(user: User, quantity: str) -> dict[str, Any]:
    """The template's context. An unknown quantity means the one with most runs."""
    known = entries()
    summed = groups(known)
    names = list(dict.fromkeys(group.quantity for group in summed))
    chosen = quantity if quantity in names else (names[0] if names else "")
    visible = set(Job.objects.visible_to(user).filter(pk__in={e.job.pk for e in known}).values_list("pk", flat=True))
    shown = [entry for entry in known if entry.estimate.quantity == chosen]
    worst = sorted((e for e in shown if e.job.pk in visible), key=lambda e: -abs(e.outcome.error))[:WORST]
    return {
        "quantities": [(name, TITLES.get(name, name)) for name in names],
        "chosen": chosen,
        "title": TITLES.get(chosen, chosen),
        "groups": [group for group in summed if group.quantity == chosen] + family_groups(shown),
        "others": [group for group in summed if group.quantity != chosen][:12],
        "plot": plot_of(shown, visible),
        "worst": worst,
        "total": len(known),
        "headline": _headline(summed, chosen),
        "least": LEAST_RUNS,
    }


def _headline(summed: list[Group], chosen: str) -> str:
    if not summed:
        return "No estimate has met a measurement yet"
    top = next(group for group in summed if group.quantity == chosen)
    error = f"{100 * top.accuracy.median_error:.0f}%"
    return f"{top.title} estimates are off by {error} in the median on {top.device} with {top.engine}"


def plot_of(shown: list[Entry], visible: set[int]) -> Plot | None:
    """None without entries. `visible`: jobs that may be named; those of other teams are dots without a name."""
    if not shown:
        return None
    values = [value for entry in shown for value in (entry.outcome.value, entry.outcome.measured)]
    low, high = math.log10(min(values) / 1.5), math.log10(max(values) * 1.5)

    def place(value: float, start: float, end: float) -> float:
        return start + (math.log10(value) - low) / (high - low) * (end - start)

    dots = [
        Dot(
            place(entry.outcome.value, LEFT, RIGHT),
            place(entry.outcome.measured, BOTTOM, TOP),
            f"{entry.job.name if entry.job.pk in visible else 'Another team'}: {100 * entry.outcome.error:+.0f}%",
        )
        for entry in shown
    ]
    marks = [digit * 10.0**power for power in range(math.floor(low), math.ceil(high) + 1) for digit in (1, 2, 5)]
    inside = [mark for mark in marks if low <= math.log10(mark) <= high]
    inside = inside[:: max(1, math.ceil(len(inside) / 7))]
    ticks = [(place(mark, LEFT, RIGHT), place(mark, BOTTOM, TOP), mark) for mark in inside]
    return Plot(dots, ticks, shown[0].estimate.unit)
