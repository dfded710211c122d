"""How far estimates were from what came, and the factor that would have brought them nearer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

LEAST_RUNS = 3  # fewer say nothing about the next one
_PRIOR_RUNS = 2  # runs that speak for a factor of 1, so that three odd ones do not swing it
FACTOR_LOW, FACTOR_HIGH = 0.5, 2.0
_ROUNDING = 0.001


@dataclass(frozen=True, slots=True)
class Outcome:
    """An estimate with its range, and the measured value. All in the quantity's own unit, above 0."""

    value: float
    low: float
    high: float
    measured: float

    @property
    def error(self) -> float:
        """measured / estimated - 1."""
        return self.measured / self.value - 1

    @property
    def is_held(self) -> bool:
        """True within the stated range; engines print rounded figures, so a thousandth is let through."""
        return self.low * (1 - _ROUNDING) <= self.measured <= self.high * (1 + _ROUNDING)


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Of `n` runs. Errors are fractions; `held` counts measured values inside their stated range.

    `factor` is the correction: the median of measured / estimated, drawn towards 1 by two runs' weight, from 0.5 to
    2; None below three runs.
    """

    n: int
    median_error: float
    bias: float
    nine_in_ten: float
    held: int
    factor: float | None


def accuracy_of(outcomes: Sequence[Outcome]) -> Accuracy | None:
    """None without outcomes."""
    if not outcomes:
        return None
    errors = [each.error for each in outcomes]
    sizes = sorted(abs(error) for error in errors)
    middle, count = median(errors), len(errors)
    factor = None
    if count >= LEAST_RUNS:
        factor = min(FACTOR_HIGH, max(FACTOR_LOW, 1 + middle * count / (count + _PRIOR_RUNS)))
    return Accuracy(
        n=count,
        median_error=median(sizes),
        bias=middle,
        nine_in_ten=sizes[min(count - 1, round(0.9 * (count - 1)))],
        held=sum(each.is_held for each in outcomes),
        factor=factor,
    )
