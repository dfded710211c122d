"""Where the dots of the picture stand."""

from __future__ import annotations

import pytest

from apps.catalog.models import Model, ModelVersion
from apps.evals.models import EvalRun
from apps.leaderboard.board import Row
from apps.leaderboard.scatter import BOTTOM, LEFT, RIGHT, TOP, scatter_of
from apps.statistics.intervals import wilson_interval


def row(name: str, parameters: int | None, right: int) -> Row:
    version = ModelVersion(model=Model(name=name), parameter_count=parameters)
    return Row(EvalRun(version=version), wilson_interval(right, 50), {})


def test_larger_stands_right_better_stands_higher_and_all_inside() -> None:
    picture = scatter_of([row("big", 8 * 10**9, 40), row("small", 10**8, 20), row("mid", 10**9, 10)])
    assert picture is not None
    big, small, mid = picture.dots
    assert LEFT < small.x < mid.x < big.x < RIGHT
    assert mid.x - small.x == pytest.approx((RIGHT - LEFT) / (1.903 + 0.292) * 1, rel=1e-3)  # one decade
    assert TOP <= big.high_y < big.y < small.y < mid.y < mid.low_y <= BOTTOM
    assert big.is_right
    assert picture.frontier == f"{small.x:.1f},{small.y:.1f} {big.x:.1f},{big.y:.1f}"  # mid is behind small
    assert [size for _, size in picture.ticks] == [10**8, 3 * 10**8, 10**9, 3 * 10**9, 10**10]


def test_labels_of_close_dots_move_apart() -> None:
    picture = scatter_of([row("a", 10**8, 25), row("b", 10**8, 24), row("c", 10**9, 30)])
    assert picture is not None
    a, b, _ = picture.dots
    assert b.label_y - a.label_y == 14


def test_one_size_or_none_makes_no_picture() -> None:
    assert scatter_of([row("a", 10**8, 25), row("b", 10**8, 20), row("c", None, 30)]) is None
    assert scatter_of([]) is None


def test_a_label_does_not_lie_on_another_dot() -> None:
    picture = scatter_of([row("small", 10**8, 10), row("near", 75 * 10**8, 44), row("big", 8 * 10**9, 44)])
    assert picture is not None
    _, near, big = picture.dots
    assert big.is_right
    assert abs(big.label_y - near.y) > 8
