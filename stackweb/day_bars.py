"""A month as stacked bars, drawn on the server as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

_WIDTH, _HEIGHT = 1180, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 1170, 12, 164
_GRID_LINES = 4
SERIES = 5  # colours there are; a sixth name joins the last


Day = tuple[date, Sequence[float]]  # the parts in the order of the names


def stacked_days(bars: Sequence[Day], names: Sequence[str], label: str, unit: str) -> SafeString:
    """The chart with its axis; every part says its day, name and value on hover."""
    top = _round_up(max((sum(parts) for _, parts in bars), default=0.0))
    return format_html(
        '<svg class="day-bars" viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}{}</svg>',
        _WIDTH, _HEIGHT, label, _grid(top, unit), _rects(bars, names, top, unit), _days(bars),
    )  # fmt: skip


def _round_up(value: float) -> float:
    """The axis' end: 1, 2, 4, 6 or 8 times a power of ten, at or above the value."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 6, 8, 10) if step * power >= value)


def _height(value: float, top: float) -> float:
    return (_BOTTOM - _TOP) * value / top


def _grid(top: float, unit: str) -> SafeString:
    steps = [top * number / _GRID_LINES for number in range(_GRID_LINES + 1)]
    rows = ((_LEFT, _RIGHT, f"{_BOTTOM - _height(step, top):.1f}", f"{unit}{step:g}") for step in steps)
    return format_html_join(
        "",
        '<line x1="{0}" x2="{1}" y1="{2}" y2="{2}"/><text x="{0}" y="{2}" dx="-8" dy="4" class="end">{3}</text>',
        rows,
    )


def _slot(bars: Sequence[Day]) -> float:
    return (_RIGHT - _LEFT) / max(1, len(bars))


def _rects(bars: Sequence[Day], names: Sequence[str], top: float, unit: str) -> SafeString:
    slot = _slot(bars)
    rows = []
    for number, (day, parts) in enumerate(bars):
        base = float(_BOTTOM)
        for series, value in enumerate(parts):
            height = _height(value, top)
            if value > 0:
                words = f"{day:%-d %b}, {names[series]}: {unit}{value:,.2f}"
                place = (f"{_LEFT + slot * (number + 0.1):.1f}", f"{base - height:.1f}", f"{slot * 0.8:.1f}")
                rows.append((min(series + 1, SERIES), *place, f"{max(0.5, height - 1):.1f}", words))
            base -= height
    return format_html_join("", '<rect class="s{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>', rows)


def _days(bars: Sequence[Day]) -> SafeString:
    """The first of the month and every seventh day after it."""
    slot = _slot(bars)
    rows = [
        (f"{_LEFT + slot * (number + 0.5):.1f}", _HEIGHT - 8, f"{day:%-d %b}")
        for number, (day, _) in enumerate(bars)
        if number % 7 == 0
    ]
    return format_html_join("", '<text x="{}" y="{}" class="mid">{}</text>', rows)
