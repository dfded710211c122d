"""Scores and differences as people read them: points of 100, one decimal, with ±."""

from __future__ import annotations

from typing import Any

from apps.evals.comparison import verdict_word
from apps.statistics.intervals import Interval
from apps.statistics.paired import Comparison


def points(fraction: float) -> str:
    """ "+3.5", "−3.8", "0.0"."""
    text = f"{abs(100 * fraction):.1f}"
    return text if text == "0.0" else f"{'+' if fraction > 0 else '−'}{text}"


def plus_minus(low: float, high: float) -> str:
    """Half the width of an interval."""
    return f"±{50 * (high - low):.1f}"


def p_words(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def score_cells(interval: Interval | None) -> dict[str, Any] | None:
    """What a score's cells show; None stays None."""
    if interval is None:
        return None
    return {
        "value": interval.value,
        "low": interval.low,
        "high": interval.high,
        "n": interval.n,
        "half": plus_minus(interval.low, interval.high),
    }


def difference_cells(result: Comparison | None) -> dict[str, Any] | None:
    if result is None:
        return None
    return {
        "word": verdict_word(result.verdict),
        "difference": result.difference,
        "low": result.low,
        "high": result.high,
        "points": points(result.difference),
        "half": plus_minus(result.low, result.high),
        "p": p_words(result.p_value),
        "n": result.n,
        "ahead": result.candidate_ahead,
        "behind": result.baseline_ahead,
    }
