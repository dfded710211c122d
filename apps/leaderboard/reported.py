"""What others reported of well-known models, closed ones among them: beside the measured board, never in it."""

from __future__ import annotations

from collections import Counter

from apps.accounts.problems import unknown_choice
from apps.planning.reported_scores import ReportedScore, reported_scores


def reported_benchmarks() -> list[str]:
    """Those with the most models first."""
    counts = Counter(score.benchmark for scores in reported_scores().values() for score in scores)
    return [benchmark for benchmark, _ in counts.most_common()]


def reported_rows(benchmark: str, text: str = "") -> list[ReportedScore]:
    """Best first, of the models whose name contains every word. Raises Problem 422 for an unknown benchmark."""
    known = reported_benchmarks()
    if benchmark not in known:
        raise unknown_choice("benchmark", benchmark, known, noun="benchmark with reported scores")
    words = text.lower().split()
    rows = [
        score
        for model, scores in reported_scores().items()
        for score in scores
        if score.benchmark == benchmark and all(word in model.lower() for word in words)
    ]
    return sorted(rows, key=lambda score: (-score.score, score.model))
