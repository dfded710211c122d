"""Model versions against each other on one suite: item by item, and in words."""

from __future__ import annotations

from dataclasses import dataclass

from apps.accounts.models import User
from apps.accounts.problems import Problem, conflict
from apps.catalog.models import ModelVersion
from apps.evals.comparison import RunComparison, compare_runs, headline_scores, values_of
from apps.evals.identity import condition_key
from apps.evals.models import EvalRun
from apps.evals.wording import p_words, plus_minus, points
from apps.statistics.paired import Comparison

RUNS_A_VERSION = 20  # newest runs of a version that are looked at for one under the same conditions


@dataclass(frozen=True)
class Result:
    """A comparison that could be made: candidate minus baseline."""

    pair: RunComparison
    overall: Comparison
    sentence: str


def result_of(pair: RunComparison) -> Result:
    """Raises Problem 409 naming the conditions that differ."""
    if pair.overall is None:
        raise refusal(pair)
    return Result(pair, pair.overall, sentence(pair, pair.overall))


def refusal(pair: RunComparison) -> Problem:
    fields = [{"field": each.field, "a": each.there, "b": each.here} for each in pair.differs]
    return conflict(pair.why_not, differs=fields)


def sentence(pair: RunComparison, result: Comparison) -> str:
    """ "tuned against base on tour: no difference shown (+1.0 points ±8.2, p = 0.804, 100 items)." """
    names = f"{pair.here.version.model.name} against {pair.there.version.model.name} on {pair.here.suite.name}"
    numbers = f"{points(result.difference)} points {plus_minus(result.low, result.high)}"
    return f"{names}: {result.verdict} ({numbers}, {p_words(result.p_value)}, {result.n} items)."


def compare_versions(
    user: User, suite_name: str, reference: ModelVersion, others: list[ModelVersion]
) -> list[RunComparison]:
    """Each other version minus the reference, on runs under the same conditions where there are any.

    Empty where the reference has no run on the suite; a version without one is left out.
    """
    runs = _runs_by_version(user, suite_name, [reference, *others])
    theirs = {version.pk: runs.get(version.pk, []) for version in others}
    candidates = runs.get(reference.pk, [])
    if not candidates:
        return []
    # The reference run that the most others can be held against; the newest of those.
    base = max(candidates, key=lambda run: (sum(bool(_like(run, each)) for each in theirs.values()), run.pk))
    pairs = [(_like(base, each) or each)[0] for each in theirs.values() if each]
    values = values_of([base, *pairs])
    return [compare_runs(run, base, values) for run in pairs]


def _runs_by_version(user: User, suite_name: str, versions: list[ModelVersion]) -> dict[int, list[EvalRun]]:
    """Newest first, in a fixed number of queries."""
    rows = EvalRun.objects.visible_to(user).done().filter(suite__name=suite_name, version__in=versions)
    found: dict[int, list[EvalRun]] = {}
    for run in rows.with_scores().order_by("-pk")[: RUNS_A_VERSION * len(versions)]:
        if headline_scores(run):
            found.setdefault(run.version_id, []).append(run)
    return found


def _like(base: EvalRun, runs: list[EvalRun]) -> list[EvalRun]:
    return [run for run in runs if conditions(run) == conditions(base)]


def conditions(run: EvalRun) -> frozenset[tuple[str, ...]]:
    """Equal for runs that may be compared as a whole: every task, each under the same conditions."""
    return frozenset((score.task, *condition_key(score)) for score in headline_scores(run))
