"""Intervals against published worked values, and their promises over every small case."""

from __future__ import annotations

from math import comb, isclose, sqrt
from statistics import fmean, stdev

import pytest

from apps.statistics.intervals import mean_interval, stderr_interval, wilson_interval
from apps.statistics.student import critical_value, two_sided_p


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    # R. G. Newcombe, Statistics in Medicine 17 (1998) 857-872, method 3: four decimals as printed there.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_agrees_with_newcombes_table(successes: int, n: int, low: float, high: float) -> None:
    interval = wilson_interval(successes, n)
    assert (round(interval.low, 4), round(interval.high, 4)) == (low, high)


def test_wilson_ends_solve_the_score_equation() -> None:
    """By definition each end p has |x/n - p| = z sqrt(p (1 - p) / n); checked for every x up to n = 25."""
    for n in range(1, 26):
        for x in range(n + 1):
            interval = wilson_interval(x, n)
            for p in {interval.low, interval.high} - {0.0, 1.0}:
                assert isclose(abs(x / n - p), 1.9599639845 * sqrt(p * (1 - p) / n), rel_tol=1e-8)
            assert interval.low <= x / n <= interval.high
            assert interval.low < interval.high


def test_wilson_covers_about_95_percent_on_average() -> None:
    n, grid = 30, [i / 200 for i in range(1, 200)]
    intervals = [wilson_interval(x, n) for x in range(n + 1)]
    coverage = [
        sum(comb(n, x) * p**x * (1 - p) ** (n - x) for x, i in enumerate(intervals) if i.low <= p <= i.high)
        for p in grid
    ]
    assert 0.94 < fmean(coverage) < 0.965
    assert min(coverage) > 0.83  # the known dip near 0 and 1


@pytest.mark.parametrize(
    ("degrees", "value"),
    # Any printed t table, 97.5 % column.
    [(1, 12.706), (2, 4.303), (5, 2.571), (9, 2.262), (29, 2.045), (120, 1.980), (10_000, 1.960)],
)
def test_t_critical_values_agree_with_the_tables(degrees: int, value: float) -> None:
    assert round(critical_value(0.95, degrees), 3) == value


def test_t_probability_has_its_closed_forms() -> None:
    """1 degree is Cauchy: p = 1 - 2 atan(t) / pi; 2 degrees: p = 1 - t / sqrt(2 + t^2)."""
    assert isclose(two_sided_p(1.0, 1), 0.5, rel_tol=1e-12)
    for t in (0.01, 0.5, 3.0, 40.0):
        assert isclose(two_sided_p(t, 2), 1 - t / sqrt(2 + t * t), rel_tol=1e-9)


def test_mean_interval_is_t_for_graded_scores() -> None:
    values = [0.2, 0.4, 0.5, 0.9, 0.6, 0.7, 0.1, 0.8, 0.5, 0.3]
    interval = mean_interval(values)
    half = 2.2621571628 * stdev(values) / sqrt(10)
    assert interval.method == "t"
    assert isclose(interval.low, 0.5 - half, rel_tol=1e-9)
    assert isclose(interval.high, 0.5 + half, rel_tol=1e-9)


def test_zero_one_scores_get_wilson_however_they_arrive() -> None:
    values = [1.0] * 31 + [0.0] * 19
    expected = wilson_interval(31, 50)
    as_lm_eval_reports = stderr_interval(0.62, sqrt(0.62 * 0.38 / 49), 50)
    for interval in (mean_interval(values), as_lm_eval_reports):
        assert interval.method == "wilson"
        assert isclose(interval.low, expected.low, rel_tol=1e-9)
        assert isclose(interval.high, expected.high, rel_tol=1e-9)


def test_equal_scores_do_not_claim_certainty() -> None:
    interval = mean_interval([0.5] * 8)
    assert interval.low < 0.35
    assert interval.high > 0.65


def test_interval_without_n_is_normal_and_stays_in_bounds() -> None:
    interval = stderr_interval(0.98, 0.02)
    assert (interval.method, interval.n, interval.high) == ("normal", 0, 1.0)
    assert isclose(interval.low, 0.98 - 1.9599639845 * 0.02, rel_tol=1e-9)


@pytest.mark.parametrize(
    ("values", "message"),
    [([], "empty"), ([0.5, float("nan")], r"values\[1\] is nan"), ([0.5, 1.5], "holds 1.5")],
)
def test_bad_values_are_named(values: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mean_interval(values)
