"""Is one system better than another on the same items?

0/1 scores: the exact McNemar test, with Newcombe's interval for the difference of paired proportions.
Other scores: Student's t on the differences of the pairs. A bootstrap was not chosen: it needs a seed to
give the same answer twice, its percentile interval is too short at the few dozen items a quick suite has,
and its interval and p value may contradict each other; t has none of these faults.

The verdict follows from the interval and the p value together: "better" and "worse" need both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from apps.statistics.intervals import LEVEL, check_finite, wilson_interval
from apps.statistics.student import critical_value, two_sided_p

Verdict = Literal["better", "worse", "no difference shown"]
Method = Literal["mcnemar", "t", "sign", "combined"]
MIN_ITEMS_FOR_T = 10  # below this t leans on a normality that bounded scores lack: the sign test must agree


@dataclass(frozen=True, slots=True)
class Comparison:
    """Candidate minus baseline over `n` shared items; fractions, not per cent.

    `candidate_ahead` and `baseline_ahead` count the items on which they differ (discordant pairs).
    `stderr` is that of the mean difference, for combining tasks.
    """

    verdict: Verdict
    difference: float
    low: float
    high: float
    p_value: float
    n: int
    candidate_ahead: int
    baseline_ahead: int
    stderr: float
    method: Method
    level: float = LEVEL


@dataclass(frozen=True, slots=True)
class Counts:
    """Shared items, and on how many of them each side is ahead."""

    n: int
    ahead: int
    behind: int


def compare_items(candidate: Mapping[str, float], baseline: Mapping[str, float]) -> Comparison:
    """Compare on the items both have answered; higher scores are better. Refuses when none is shared."""
    shared = sorted(candidate.keys() & baseline.keys())
    if not shared:
        raise ValueError("the two runs share no item; run both on the same suite version")
    return compare_scores([candidate[key] for key in shared], [baseline[key] for key in shared])


def compare_scores(
    candidate: Sequence[float], baseline: Sequence[float], *, level: float = LEVEL, span: float = 1.0
) -> Comparison:
    """Compare two lists of scores, matched by position.

    `span` is the largest difference one item can make (1 for scores within 0..1).
    """
    if len(candidate) != len(baseline):
        raise ValueError(f"candidate has {len(candidate)} scores, baseline {len(baseline)}; they must match")
    if not candidate:
        raise ValueError("there are no scores; a comparison needs at least 1 shared item")
    check_finite("candidate", candidate)
    check_finite("baseline", baseline)
    if all(value in (0, 1) for scores in (candidate, baseline) for value in scores):
        return _mcnemar(candidate, baseline, level)
    return _paired_t([a - b for a, b in zip(candidate, baseline, strict=True)], level, span)


def mcnemar_p(candidate_ahead: int, baseline_ahead: int) -> float:
    """Exact two-sided p: under no difference, who is ahead on a discordant item is a fair coin.

    Twice the smaller binomial tail, at most 1 (McNemar, Psychometrika 12, 1947, 153-157; exact form:
    Mosteller, Biometrics 8, 1952, 220-226).
    """
    flips, fewer = candidate_ahead + baseline_ahead, min(candidate_ahead, baseline_ahead)
    term = total = 1
    for k in range(fewer):
        term = term * (flips - k) // (k + 1)
        total += term
    whole: int = 2**flips
    return min(1.0, 2 * total / whole)  # a quotient of integers is rounded once, however large they are


def newcombe_interval(both: int, only_a: int, only_b: int, neither: int, level: float) -> tuple[float, float]:
    """Interval for the difference of two paired proportions, a minus b.

    Method 10 of R. G. Newcombe, Statistics in Medicine 17 (1998) 2635-2650: Wilson intervals of the two
    proportions, joined with the correlation of the pairs (continuity-corrected when it is positive).
    """
    n = both + only_a + only_b + neither
    a = wilson_interval(both + only_a, n, level)
    b = wilson_interval(both + only_b, n, level)
    margins = (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither)
    product = both * neither - only_a * only_b
    phi = (max(product - n / 2, 0) if product > 0 else product) / math.sqrt(margins) if margins else 0.0
    difference = a.value - b.value

    def reach(down: float, up: float) -> float:
        return math.sqrt(max(0.0, down * down - 2 * phi * down * up + up * up))

    low = difference - reach(a.value - a.low, b.high - b.value)
    return max(-1.0, low), min(1.0, difference + reach(a.high - a.value, b.value - b.low))


def _mcnemar(candidate: Sequence[float], baseline: Sequence[float], level: float) -> Comparison:
    n = len(candidate)
    pairs = list(zip(candidate, baseline, strict=True))
    ahead, behind = pairs.count((1, 0)), pairs.count((0, 1))
    difference = (ahead - behind) / n
    low, high = newcombe_interval(pairs.count((1, 1)), ahead, behind, pairs.count((0, 0)), level)
    variance = (ahead + behind - n * difference**2) / (n - 1) / n if n > 1 else 0.0
    counts = Counts(n, ahead, behind)
    return _judge(difference, (low, high), mcnemar_p(ahead, behind), counts, math.sqrt(variance), "mcnemar", level)


def _paired_t(differences: Sequence[float], level: float, span: float) -> Comparison:
    n = len(differences)
    mean = math.fsum(differences) / n
    counts = Counts(n, sum(d > 0 for d in differences), sum(d < 0 for d in differences))
    variance = math.fsum((d - mean) ** 2 for d in differences) / (n - 1) if n > 1 else 0.0
    stderr = math.sqrt(variance / n)
    method: Method
    if n == 1 or max(differences) == min(differences):
        # Every pair differs alike, so t would claim certainty. The sign test gives p; the interval allows for
        # a share of unseen, other items that n alike ones cannot exclude: (1 - share)^n = 1 - level.
        p = mcnemar_p(counts.ahead, counts.behind)
        half, method = span * (1 - (1 - level) ** (1 / n)), "sign"
    else:
        p = two_sided_p(mean / stderr, n - 1)
        half, method = critical_value(level, n - 1) * stderr, "t"
    if n < MIN_ITEMS_FOR_T:
        p = max(p, mcnemar_p(counts.ahead, counts.behind))
    interval = max(-span, mean - half), min(span, mean + half)
    return _judge(mean, interval, p, counts, stderr, method, level)


def combine_tasks(comparisons: Sequence[Comparison], level: float = LEVEL) -> Comparison:
    """One verdict over several tasks: the plain mean of the tasks' differences, each task counting alike.

    Tasks are strata: their standard errors add in squares, with Welch-Satterthwaite degrees of freedom
    (Satterthwaite, Biometrics Bulletin 2, 1946, 110-114). Where all scores are 0/1, the exact test on the
    pooled discordant items must agree, because t is too bold when they are few.
    """
    if not comparisons:
        raise ValueError("there are no tasks; a combined comparison needs at least 1")
    if len(comparisons) == 1:
        return comparisons[0]
    k = len(comparisons)
    mean = math.fsum(c.difference for c in comparisons) / k
    parts = [((c.stderr / k) ** 2, c.n - 1) for c in comparisons if c.stderr > 0]
    stderr = math.sqrt(math.fsum(part for part, _ in parts))
    counts = Counts(
        sum(c.n for c in comparisons),
        sum(c.candidate_ahead for c in comparisons),
        sum(c.baseline_ahead for c in comparisons),
    )
    exact = mcnemar_p(counts.ahead, counts.behind)
    if not parts:
        # No task shows any spread: the mean of the tasks' own intervals is all that can honestly be said.
        interval = math.fsum(c.low for c in comparisons) / k, math.fsum(c.high for c in comparisons) / k
        return _judge(mean, interval, exact, counts, 0.0, "combined", level)
    degrees = stderr**4 / math.fsum(part**2 / freedom for part, freedom in parts)
    half = critical_value(level, degrees) * stderr
    p = two_sided_p(mean / stderr, degrees)
    if all(c.method == "mcnemar" for c in comparisons):
        p = max(p, exact)
    return _judge(mean, (mean - half, mean + half), p, counts, stderr, "combined", level)


def _judge(
    difference: float,
    interval: tuple[float, float],
    p: float,
    counts: Counts,
    stderr: float,
    method: Method,
    level: float,
) -> Comparison:
    """Better or worse only when p is below 1 - level and the interval excludes zero.

    Where the test does not reject, the interval is widened to touch zero, so that picture and verdict
    never contradict; its coverage can only rise.
    """
    low, high = interval
    verdict: Verdict = "no difference shown"
    if p >= 1 - level:
        low, high = min(low, 0.0), max(high, 0.0)
    elif low > 0:
        verdict = "better"
    elif high < 0:
        verdict = "worse"
    return Comparison(verdict, difference, low, high, p, counts.n, counts.ahead, counts.behind, stderr, method, level)
