"""Two runs, item by item: better, worse, or no difference shown."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from apps.evals.identity import Difference, differences
from apps.evals.models import EvalRun, SampleResult, Score
from apps.statistics.intervals import Interval, stderr_interval, wilson_interval
from apps.statistics.paired import Comparison, combine_tasks, compare_items

# task -> item_sha256 -> value of the suite's metric
TaskValues = dict[str, dict[str, float]]


@dataclass(frozen=True)
class TaskComparison:
    """One task of two runs. `result` is None where the two may not be compared; `why_not` says why."""

    task: str
    here: Score
    there: Score
    result: Comparison | None = None
    differs: list[Difference] = field(default_factory=list)
    why_not: str = ""


@dataclass(frozen=True)
class RunComparison:
    """`overall` is the plain mean over the tasks; None unless every task could be compared."""

    here: EvalRun
    there: EvalRun
    tasks: list[TaskComparison]
    overall: Comparison | None
    why_not: str = ""

    @property
    def word(self) -> str:
        """The verdict in the vocabulary of states, empty where there is none."""
        return verdict_word(self.overall.verdict) if self.overall else ""

    @property
    def differs(self) -> list[Difference]:
        """Each condition once, though every task may differ in it."""
        return list({found.field: found for task in self.tasks for found in task.differs}.values())

    @property
    def worst(self) -> TaskComparison | None:
        """The task with the largest loss that the test shows."""
        losses = [task for task in self.tasks if task.result and task.result.verdict == "worse"]
        return min(losses, key=lambda task: task.result.difference if task.result else 0.0, default=None)


def verdict_word(verdict: str) -> str:
    return verdict[0].upper() + verdict[1:]


def headline_scores(run: EvalRun) -> list[Score]:
    """Scores of the suite's metrics; uses `with_scores` where the queryset did."""
    held = getattr(run, "headline_scores", None)
    return list(run.scores.filter(is_headline=True).order_by("task")) if held is None else list(held)


def values_of(runs: Iterable[EvalRun]) -> dict[int, TaskValues]:
    """Every item's value of several runs, in one query."""
    values: dict[int, TaskValues] = {}
    rows = SampleResult.objects.filter(run__in=list(runs)).order_by()
    for run_pk, task, item, value in rows.values_list("run_id", "task", "item_sha256", "value").iterator():
        values.setdefault(run_pk, {}).setdefault(task, {})[item] = value
    return values


def compare_runs(here: EvalRun, there: EvalRun, values: dict[int, TaskValues] | None = None) -> RunComparison:
    """Here minus there. A run of other conditions or another suite is refused in words, never compared."""
    values = values_of([here, there]) if values is None else values
    others = {score.task: score for score in headline_scores(there)}
    mine = headline_scores(here)
    tasks = [
        _compare_task(score, others[score.task], values.get(here.pk, {}), values.get(there.pk, {}))
        for score in mine
        if score.task in others
    ]
    why_not = _why_not(here, there, mine, others, tasks)
    results = [task.result for task in tasks if task.result]
    overall = combine_tasks(results) if results and not why_not else None
    return RunComparison(here, there, tasks, overall, why_not)


def _compare_task(here: Score, there: Score, mine: TaskValues, theirs: TaskValues) -> TaskComparison:
    if differs := differences(here, there):
        words = "; ".join(map(str, differs))
        return TaskComparison(here.task, here, there, differs=differs, why_not=f"Not compared: other {words}.")
    sign = 1 if here.higher_is_better else -1  # a difference above 0 is always an improvement
    a, b = ({item: sign * value for item, value in side.get(here.task, {}).items()} for side in (mine, theirs))
    if not a.keys() & b.keys():
        return TaskComparison(here.task, here, there, why_not="Not compared: the two runs share no item.")
    return TaskComparison(here.task, here, there, compare_items(a, b))


def _why_not(
    here: EvalRun, there: EvalRun, mine: list[Score], others: dict[str, Score], tasks: list[TaskComparison]
) -> str:
    if not mine or not others:
        return f"{(here if not mine else there).public_id} has no scores yet."
    refused = next((task.why_not for task in tasks if task.why_not), "")
    if refused:
        return refused
    names = {score.task for score in mine}
    if names != others.keys():
        return f"Not compared as a whole: only one of the two ran {', '.join(sorted(names ^ others.keys()))}."
    return ""


def score_interval(score: Score) -> Interval:
    """The 95 % interval of one score, inside 0 to 1 where the metric is a rate."""
    if not 0 <= score.value <= 1:
        half = 1.96 * (score.standard_error or 0.0)
        return Interval(score.value, score.value - half, score.value + half, score.item_count, "normal")
    if score.standard_error is None:
        return wilson_interval(score.value * score.item_count, score.item_count)
    return stderr_interval(score.value, score.standard_error, score.item_count)


def mean_of_tasks(scores: list[Score]) -> Interval | None:
    """The plain mean over tasks with its interval; tasks are independent, so their variances add."""
    if not scores:
        return None
    if len(scores) == 1:
        return score_interval(scores[0])
    k, items = len(scores), sum(score.item_count for score in scores)
    mean = sum(score.value for score in scores) / k
    variance = sum(_standard_error(score) ** 2 for score in scores) / k**2
    if not 0 <= mean <= 1:
        half = 1.96 * variance**0.5
        return Interval(mean, mean - half, mean + half, items, "normal")
    return stderr_interval(mean, variance**0.5, items)


def _standard_error(score: Score) -> float:
    if score.standard_error is not None:
        return score.standard_error
    return math.sqrt(max(0.0, score.value * (1 - score.value) / max(1, score.item_count - 1)))
