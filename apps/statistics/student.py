"""Student's t distribution, so that the base install needs no numeric library.

Two-sided probabilities come from the regularised incomplete beta function by its continued fraction
(NIST Digital Library of Mathematical Functions, 8.17.22), evaluated by Lentz's method.
"""

from __future__ import annotations

import math
from functools import lru_cache

_TINY = 1e-300
_MAX_TERMS = 100_000  # needs about sqrt(degrees of freedom) terms, so this is never reached in practice


def _fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of the incomplete beta function; converges fast for x < (a+1)/(a+b+2)."""
    c, d = 1.0, 1.0 / (1.0 - (a + b) * x / (a + 1.0) or _TINY)
    result = d
    for m in range(1, _MAX_TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        step = 1.0
        for term in (even, odd):
            d = 1.0 / (1.0 + term * d or _TINY)
            c = 1.0 + term / c or _TINY
            step = c * d
            result *= step
        if abs(step - 1.0) < 1e-15:
            return result
    raise ArithmeticError(f"incomplete beta did not converge for a={a}, b={b}, x={x}")


def incomplete_beta(a: float, b: float, x: float) -> float:
    """Regularised incomplete beta I_x(a, b) for a, b > 0 and 0 <= x <= 1."""
    if x <= 0.0 or x >= 1.0:
        return 0.0 if x <= 0.0 else 1.0
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    front = math.exp(log_front)
    if x < (a + 1.0) / (a + b + 2.0):
        return front * _fraction(a, b, x) / a
    return 1.0 - front * _fraction(b, a, 1.0 - x) / b


def two_sided_p(t: float, degrees: float) -> float:
    """P(|T| >= |t|) for Student's t; `degrees` may be fractional (Welch-Satterthwaite)."""
    if degrees <= 0:
        raise ValueError(f"degrees is {degrees}; it must be above 0")
    return incomplete_beta(degrees / 2.0, 0.5, degrees / (degrees + t * t))


@lru_cache(maxsize=4096)
def critical_value(level: float, degrees: float) -> float:
    """The t with P(|T| <= t) = level, by bisection to about 1e-12."""
    if not 0.0 < level < 1.0:
        raise ValueError(f"level is {level}; it must lie between 0 and 1, for example 0.95")
    low, high = 0.0, 2.0
    while two_sided_p(high, degrees) > 1.0 - level:
        high *= 2.0
    for _ in range(80):
        middle = (low + high) / 2.0
        if two_sided_p(middle, degrees) > 1.0 - level:
            low = middle
        else:
            high = middle
    return (low + high) / 2.0
