"""Intervals for one score: what the true score may be, given that only n items were asked.

All intervals are two-sided, 95 % unless told otherwise, and stay within the metric's bounds.
Scores are fractions (0.62, not 62 %).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

from apps.statistics.student import critical_value

LEVEL = 0.95
Method = Literal["wilson", "t", "normal"]


@dataclass(frozen=True, slots=True)
class Interval:
    """A score with its interval. `n` is the number of items, 0 where it is not known."""

    value: float
    low: float
    high: float
    n: int
    method: Method
    level: float = LEVEL


def wilson_interval(successes: float, n: int, level: float = LEVEL) -> Interval:
    """Score interval for a proportion (E. B. Wilson, JASA 22, 1927, 209-212); no continuity correction.

    Never empty and never outside 0..1, also at 0 or n successes. `successes` may be fractional: a mean of
    values within 0..1 varies at most as much as a 0/1 score of the same mean, so it is then conservative.
    """
    if n < 1:
        raise ValueError(f"n is {n}; an interval needs at least 1 item")
    if not 0 <= successes <= n:
        raise ValueError(f"successes is {successes}; it must lie between 0 and n = {n}")
    z = normal_critical(level)
    p = successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    # Rounding must not push the end past the value itself at 0 and at n successes.
    return Interval(p, min(p, max(0.0, centre - half)), max(p, min(1.0, centre + half)), n, "wilson", level)


def mean_interval(values: Sequence[float], level: float = LEVEL, bounds: tuple[float, float] = (0.0, 1.0)) -> Interval:
    """Interval for the mean of a metric that lies within `bounds` on every item.

    Wilson where every value sits on a bound (a 0/1 score), else Student's t with n - 1 degrees of freedom.
    """
    low, high = bounds
    check_finite("values", values)
    outside = [value for value in values if not low <= value <= high]
    if outside:
        raise ValueError(f"values holds {outside[0]}; this metric lies between {low} and {high}")
    n = len(values)
    if n < 1:
        raise ValueError("values is empty; an interval needs at least 1 item")
    mean = math.fsum(values) / n
    variance = math.fsum((value - mean) ** 2 for value in values) / (n - 1) if n > 1 else 0.0
    return stderr_interval(mean, math.sqrt(variance / n), n, level, bounds)


def stderr_interval(
    value: float,
    stderr: float,
    n: int | None = None,
    level: float = LEVEL,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Interval:
    """Interval for a score of which only value, standard error and perhaps n are known (lm-eval's output).

    A 0/1 score has the largest standard error that its mean allows, so it is told from the numbers, and
    gets Wilson. So does a standard error of 0, where t would claim certainty. Else t with n - 1 degrees of
    freedom; normal where n is not known.
    """
    low, high = bounds
    check_finite("value and stderr", (value, stderr))
    if stderr < 0 or not low <= value <= high:
        raise ValueError(f"value {value}, stderr {stderr}; need {low} <= value <= {high} and stderr >= 0")
    if n is None:
        half = normal_critical(level) * stderr
        return Interval(value, max(low, value - half), min(high, value + half), 0, "normal", level)
    share = (value - low) / (high - low)
    if n < 2 or stderr == 0 or _is_binary(share, stderr / (high - low), n):
        unit = wilson_interval(share * n, n, level)
        width = high - low
        return Interval(value, low + unit.low * width, low + unit.high * width, n, "wilson", level)
    half = critical_value(level, n - 1) * stderr
    return Interval(value, max(low, value - half), min(high, value + half), n, "t", level)


def _is_binary(share: float, stderr: float, n: int) -> bool:
    """True when the standard error is that of a 0/1 score, with n or n - 1 in the denominator."""
    spread = share * (1 - share)
    return any(math.isclose(stderr * stderr, spread / m, rel_tol=1e-6) for m in (n, n - 1))


def normal_critical(level: float) -> float:
    """The z with P(|Z| <= z) = level: 1.959964 for 95 %."""
    if not 0.0 < level < 1.0:
        raise ValueError(f"level is {level}; it must lie between 0 and 1, for example 0.95")
    return NormalDist().inv_cdf(0.5 + level / 2)


def check_finite(name: str, values: Sequence[float]) -> None:
    """Refuse NaN and infinity by name: they would pass silently through every later comparison."""
    for index, value in enumerate(values):
        if not math.isfinite(value):
            raise ValueError(f"{name}[{index}] is {value}; it must be a finite number")
