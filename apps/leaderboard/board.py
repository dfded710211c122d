"""One suite's table: the newest comparable run of each model version, best first, ties named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from apps.accounts.models import User
from apps.catalog.models import ModelVersion
from apps.evals.comparison import (
    RunComparison,
    TaskValues,
    compare_runs,
    headline_scores,
    mean_of_tasks,
    score_interval,
    values_of,
)
from apps.evals.identity import differences
from apps.evals.models import EvalRun, Score, Suite
from apps.evals.wording import points
from apps.leaderboard.comparison import conditions
from apps.statistics.intervals import Interval

MAX_RUNS, MAX_ROWS = 500, 50


@dataclass
class Row:
    """`rank_low` and `rank_high` are the same where the paired test tells the row from its neighbours."""

    run: EvalRun
    mean: Interval
    scores: dict[str, Score]
    rank_low: int = 0
    rank_high: int = 0
    against_first: RunComparison | None = None  # this row minus the first one

    @property
    def version(self) -> ModelVersion:
        return self.run.version

    @property
    def intervals(self) -> dict[str, Interval]:
        return {task: score_interval(score) for task, score in self.scores.items()}

    @property
    def size_bytes(self) -> int:
        return sum(artifact.size_bytes for artifact in self.version.artifacts.all())


@dataclass(frozen=True)
class LeftOut:
    """A version whose only runs were taken otherwise, and how."""

    run: EvalRun
    why: str
    fields: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Board:
    suite: Suite
    rows: list[Row]
    left_out: list[LeftOut]
    headline: str


def board(user: User, suite: Suite) -> Board:
    """In a fixed number of queries, however many versions there are."""
    visible = EvalRun.objects.visible_to(user).done().filter(suite=suite)
    found = visible.with_scores().prefetch_related("version__artifacts").order_by("-pk")[:MAX_RUNS]
    runs = [run for run in found if headline_scores(run)]
    chosen = _conditions_of_board(suite, runs)
    newest: dict[int, EvalRun] = {}
    for run in runs:
        if conditions(run) == chosen:
            newest.setdefault(run.version_id, run)
    rows = sorted(_rows(newest.values()), key=lambda row: -row.mean.value)[:MAX_ROWS]
    _rank(rows, values_of(row.run for row in rows))
    return Board(suite, rows, _left_out(runs, newest, rows), _headline(suite, rows))


def _conditions_of_board(suite: Suite, runs: list[EvalRun]) -> frozenset[tuple[str, ...]]:
    """Those under which the most versions ran the whole suite; of two such, the newer."""
    tasks = {task["name"] for task in suite.tasks}
    whole = [run for run in runs if {score.task for score in headline_scores(run)} == tasks]
    counts = Counter(key for key, _ in {(conditions(run), run.version_id) for run in whole})
    newest = {conditions(run): run.pk for run in reversed(whole)}
    return max(counts, key=lambda key: (counts[key], newest[key]), default=frozenset())


def _rows(runs: Iterable[EvalRun]) -> Iterator[Row]:
    for run in runs:
        scores = headline_scores(run)
        if (mean := mean_of_tasks(scores)) is not None:
            yield Row(run, mean, {score.task: score for score in scores})


def _rank(rows: list[Row], values: dict[int, TaskValues]) -> None:
    """Rows share a rank while the test shows no difference to the first of their group."""
    groups: list[list[Row]] = []
    for row in rows:
        if row is not rows[0]:
            row.against_first = compare_runs(row.run, rows[0].run, values)
        head = groups[-1][0] if groups else None
        pair = row.against_first if head is rows[0] else compare_runs(row.run, head.run, values) if head else None
        if pair and pair.overall and pair.overall.verdict == "no difference shown":
            groups[-1].append(row)
        else:
            groups.append([row])
    place = 1
    for group in groups:
        for row in group:
            row.rank_low, row.rank_high = place, place + len(group) - 1
        place += len(group)


def _left_out(runs: list[EvalRun], newest: dict[int, EvalRun], rows: list[Row]) -> list[LeftOut]:
    """The newest run of each version that is not ranked, with what sets it apart."""
    shown: dict[int, LeftOut] = {}
    for run in runs:
        if run.version_id not in newest and run.version_id not in shown and rows:
            shown[run.version_id] = _why(run, rows[0])
    return list(shown.values())


def _why(run: EvalRun, row: Row) -> LeftOut:
    found = {
        each.field: each
        for score in headline_scores(run)
        if score.task in row.scores
        for each in differences(score, row.scores[score.task])
    }
    if found:
        return LeftOut(run, f"Other {'; '.join(map(str, found.values()))}.", list(found))
    missing = sorted(row.scores.keys() - {score.task for score in headline_scores(run)})
    return LeftOut(run, f"Did not run {', '.join(missing)}.", ["tasks"])


def _headline(suite: Suite, rows: list[Row]) -> str:
    if not rows:
        return f"Nothing is measured on {suite.name} yet"
    first = rows[0].version.model.name
    if len(rows) == 1:
        return f"{first} is the only model measured on {suite.name}"
    tied = [row for row in rows if row.rank_low == 1]
    if len(tied) == 1:
        pair = rows[1].against_first
        lead = f" by {points(-pair.overall.difference).removeprefix('+')} points" if pair and pair.overall else ""
        return f"{first} leads {suite.name}{lead}"
    if len(tied) == 2:
        return f"No difference shown between {first} and {tied[1].version.model.name} on {suite.name}"
    return f"No difference shown among the best {len(tied)} on {suite.name}"
