"""Scores that others published for well-known models, closed ones among them, each with setting and source.

Reported is never mixed with measured: these rows stand apart wherever they are shown.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

INDEPENDENT = "Artificial Analysis (independent)"


@dataclass(frozen=True, slots=True)
class ReportedScore:
    """`score` in per cent; `kind` closed: a model whose weights nobody can have."""

    model: str
    kind: Literal["open", "closed"]
    benchmark: str
    score: float
    setting: str
    self_reported: bool
    date: str
    source: str


@cache
def reported_scores() -> dict[str, tuple[ReportedScore, ...]]:
    """Model -> its scores, by the names of the reference catalogue."""
    found: dict[str, list[ReportedScore]] = {}
    for row in json.loads(Path(__file__).with_name("reported_scores.json").read_text()):
        found.setdefault(row["model"], []).append(ReportedScore(**row))
    return {model: tuple(scores) for model, scores in found.items()}


def comparable_score(model: str, benchmark: str) -> ReportedScore | None:
    """The score by the one independent tester if there is one, so that two models were asked alike."""
    scores = [each for each in reported_scores().get(model, ()) if each.benchmark == benchmark]
    return next((each for each in scores if each.setting == INDEPENDENT), None)
