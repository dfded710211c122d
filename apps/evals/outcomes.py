"""Samples by outcome: lost, won, both wrong, both right; without another run, wrong and right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from apps.accounts.paging import cut_page, whole_number
from apps.evals.comparison import TaskValues
from apps.evals.models import EvalRun, SampleResult

PAGE_SIZE = 25
_ABOVE = 4  # samples shown above the current one
OUTCOMES = {
    "lost": "Wrong here, right there",
    "won": "Right here, wrong there",
    "both_wrong": "Both wrong",
    "both_right": "Both right",
    "wrong": "Wrong",
    "right": "Right",
}
_PAIRED, _ALONE = ("lost", "won", "both_wrong", "both_right"), ("wrong", "right")


@dataclass(frozen=True)
class SampleFilter:
    run: EvalRun
    baseline: EvalRun | None
    task: str = ""
    show: str = ""
    cursor: str = ""


def outcome_of(here: float, there: float | None) -> str:
    """Graded metrics count too: less than there is lost, less than full marks on both is wrong."""
    if there is None:
        return "right" if here >= 1 else "wrong"
    if here != there:
        return "lost" if here < there else "won"
    return "both_right" if here >= 1 else "both_wrong"


def outcome_counts(
    run: EvalRun, baseline: EvalRun | None, values: dict[int, TaskValues], *, task: str = ""
) -> dict[str, int]:
    counts = dict.fromkeys(_PAIRED if baseline else _ALONE, 0)
    for outcome in _outcomes(run, baseline, values, task).values():
        counts[outcome] += 1
    return counts if sum(counts.values()) else {}


def _outcomes(
    run: EvalRun, baseline: EvalRun | None, values: dict[int, TaskValues], task: str
) -> dict[tuple[str, str], str]:
    """(task, item) -> outcome, of items that both runs answered."""
    theirs = values.get(baseline.pk, {}) if baseline else {}
    found = {}
    for name, items in values.get(run.pk, {}).items():
        if task and name != task:
            continue
        for item, value in items.items():
            there = theirs.get(name, {}).get(item)
            if there is not None or baseline is None:
                found[name, item] = outcome_of(value, there)
    return found


def matching(chosen: SampleFilter, values: dict[int, TaskValues]) -> QuerySet[SampleResult]:
    """The run's samples with the chosen outcome, in the order of the suite."""
    outcomes = _outcomes(chosen.run, chosen.baseline, values, chosen.task)
    wanted = [item for (_, item), outcome in outcomes.items() if outcome == chosen.show]
    return chosen.run.samples.filter(item_sha256__in=wanted).order_by("pk")


def sample_page(chosen: SampleFilter, values: dict[int, TaskValues]) -> dict[str, Any]:
    """One page of them; `next` is the cursor of the following one."""
    rows = matching(chosen, values)
    if (after := whole_number(chosen.cursor)) is not None:
        rows = rows.filter(pk__gt=after)
    found, following = cut_page(rows, PAGE_SIZE)
    return {"rows": found, "show": chosen.show, "next": following}


def neighbours(sample: SampleResult, chosen: SampleFilter, values: dict[int, TaskValues]) -> dict[str, Any]:
    """The sample among those with its outcome: a window of the list, and who comes before and after."""
    rows = matching(chosen, values)
    pks = list(rows.values_list("pk", flat=True))
    place = pks.index(sample.pk)
    start = max(0, min(place - _ABOVE, len(pks) - PAGE_SIZE))
    return {
        "rows": list(rows[start : start + PAGE_SIZE]),
        "total": len(pks),
        "place": place + 1,
        "previous": pks[place - 1] if place else None,
        "next": pks[place + 1] if place + 1 < len(pks) else None,
    }


def twin_of(sample: SampleResult, baseline: EvalRun | None) -> SampleResult | None:
    """The same item as the other run answered it."""
    if baseline is None:
        return None
    return baseline.samples.filter(task=sample.task, item_sha256=sample.item_sha256).first()
