"""Quality against size: where each dot stands, in the units of the picture's own grid."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from apps.leaderboard.board import Row

LEFT, RIGHT, TOP, BOTTOM = 46, 1000, 16, 210  # the plot inside a picture of 1040 x 250
_SIZES = [digit * 10**power for power in range(7, 13) for digit in (1, 3)]  # parameters named on the axis
_NEAR = 14  # labels closer than this take turns


@dataclass
class Dot:
    name: str
    words: str  # what a screen reader says
    x: float
    y: float
    low_y: float
    high_y: float
    label_y: float
    is_right: bool  # the label stands left of the dot

    @property
    def label_x(self) -> float:
        return self.x - 9 if self.is_right else self.x + 9


@dataclass(frozen=True)
class Scatter:
    dots: list[Dot]
    lines: list[tuple[float, str]]  # height, score
    ticks: list[tuple[float, int]]  # place, parameters
    frontier: str  # joins the best score at each size


def scatter_of(rows: list[Row]) -> Scatter | None:
    """None below two sizes to compare."""
    known = [row for row in rows if row.version.parameter_count]
    sizes = {row.version.parameter_count or 0 for row in known}
    if len(sizes) < 2:
        return None
    low, high = math.log10(min(sizes) / 1.4), math.log10(max(sizes) * 1.4)
    bottom = math.floor(min(row.mean.low for row in known) * 10) / 10
    top = max(bottom + 0.1, math.ceil(max(row.mean.high for row in known) * 10) / 10)

    def across(parameters: int) -> float:
        return LEFT + (math.log10(parameters) - low) / (high - low) * (RIGHT - LEFT)

    def up(score: float) -> float:
        return BOTTOM - (score - bottom) / (top - bottom) * (BOTTOM - TOP)

    dots = [_dot(row, across(row.version.parameter_count or 1), up) for row in known]
    _spread_labels(dots)
    steps = round((top - bottom) * 10)
    every = 2 if steps > 5 else 1
    scores = [bottom + step / 10 for step in range(0, steps + 1, every)]
    ticks = [(across(size), size) for size in _SIZES if low <= math.log10(size) <= high]
    return Scatter(dots, [(up(score), f"{100 * score:.0f}") for score in scores], ticks, _frontier(dots))


def _dot(row: Row, x: float, up: Callable[[float], float]) -> Dot:
    mean = row.mean
    words = f"{row.version.model.name}: {100 * mean.value:.1f}"
    return Dot(
        row.version.model.name,
        words,
        x,
        up(mean.value),
        up(mean.low),
        up(mean.high),
        up(mean.value) + 4,
        x > RIGHT - 180,
    )


def _spread_labels(dots: list[Dot]) -> None:
    """A label that would lie on another dot moves off it; then labels that meet move apart, from the top down."""
    for dot in dots:
        gaps = [(dot.x - other.x if dot.is_right else other.x - dot.x, dot.y - other.y) for other in dots]
        if met := [rise for run, rise in gaps if 0 < run < 180 and abs(rise) < _NEAR]:
            dot.label_y = dot.y + (16 if met[0] > 0 else -9)
    placed: list[Dot] = []
    for dot in sorted(dots, key=lambda each: each.y):
        for other in placed:
            if abs(other.x - dot.x) < 180 and abs(dot.label_y - other.label_y) < _NEAR:
                dot.label_y = other.label_y + _NEAR
        placed.append(dot)


def _frontier(dots: list[Dot]) -> str:
    """The points of a line from small to large through every dot that is the best up to its size."""
    best, points = math.inf, []
    for dot in sorted(dots, key=lambda each: (each.x, each.y)):
        if dot.y < best:
            best = dot.y
            points.append(f"{dot.x:.1f},{dot.y:.1f}")
    return " ".join(points)
