"""What the page of one sample shows: prompt, both answers, target, and its neighbours of the same outcome."""

from __future__ import annotations

from typing import Any

from apps.accounts.models import User
from apps.evals.baselines import chosen_baseline
from apps.evals.comparison import values_of
from apps.evals.models import EvalRun, SampleResult
from apps.evals.outcomes import OUTCOMES, SampleFilter, neighbours, outcome_counts, outcome_of, twin_of


def one_sample(run: EvalRun, sample: SampleResult, user: User, *, against: str, task: str) -> dict[str, Any]:
    """The template's context."""
    baseline = chosen_baseline(run, user, against)
    twin = twin_of(sample, baseline)
    if twin is None:
        baseline = None
    values = values_of([run, baseline] if baseline else [run])
    show = outcome_of(sample.value, twin.value if twin else None)
    task = task if task == sample.task else ""
    counts = outcome_counts(run, baseline, values, task=task)
    return {
        "run": run,
        "sample": sample,
        "baseline": baseline,
        "twin": twin,
        "against": baseline.public_id if baseline else "none",
        "task": task,
        "show": show,
        "outcome": OUTCOMES[show],
        "outcomes": [(key, OUTCOMES[key], count) for key, count in counts.items()],
        "headline": _headline(run, baseline, counts),
        "list": neighbours(sample, SampleFilter(run, baseline, task=task, show=show), values),
        "sides": _sides(run, sample, baseline, twin),
        "choices": _choices(sample, twin),
        "title": next((each["title"] for each in run.suite.tasks if each["name"] == sample.task), sample.task),
    }


def _headline(run: EvalRun, baseline: EvalRun | None, counts: dict[str, int]) -> str:
    name = run.version.model.name
    if baseline is None:
        wrong, all_items = counts.get("wrong", 0), sum(counts.values())
        return f"{name} gets {wrong} of {all_items} items wrong"
    other = baseline.version.model.name
    return f"{name} loses {counts['lost']} items that {other} gets right, and wins {counts['won']}"


def _sides(
    run: EvalRun, sample: SampleResult, baseline: EvalRun | None, twin: SampleResult | None
) -> list[dict[str, Any]]:
    sides = [{"where": "here", "run": run, "sample": sample, "is_right": sample.value >= 1}]
    if baseline and twin:
        sides.append({"where": "there", "run": baseline, "sample": twin, "is_right": twin.value >= 1})
    return sides


def _choices(sample: SampleResult, twin: SampleResult | None) -> list[dict[str, Any]]:
    """The choices of a multiple-choice item with what each run thought of them."""
    theirs = {each["text"]: each["loglikelihood"] for each in (twin.detail.get("choices", []) if twin else [])}
    return [
        each | {"is_target": each["text"] == sample.target, "there": theirs.get(each["text"])}
        for each in sample.detail.get("choices", [])
    ]
