"""REST: the table of a suite and two versions side by side, measured by this installation; what others reported."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema

from apps.accounts.problems import invalid, unknown_choice
from apps.accounts.rest import signed_in
from apps.catalog.lookups import version_named
from apps.evals.comparison import mean_of_tasks, score_interval
from apps.evals.models import EvalRun, Score
from apps.evals.schemas import IntervalOut, interval_out
from apps.leaderboard.board import Board, Row, board
from apps.leaderboard.comparison import compare_versions, result_of
from apps.leaderboard.reported import reported_benchmarks, reported_rows
from apps.leaderboard.suites import chosen_suite
from apps.statistics.paired import Comparison

router = Router(tags=["leaderboard"])


class DifferenceOut(Schema):
    """Paired on the same items, 95 % interval; fractions. `ahead` and `behind` count the items that differ."""

    verdict: str  # better | worse | no difference shown
    difference: float
    low: float
    high: float
    p_value: float
    n: int
    ahead: int
    behind: int
    method: str


class RowOut(Schema):
    rank_low: int
    rank_high: int
    version: str
    model: str
    label: str
    note: str
    precision: str  # of the stored weights
    parameter_count: int | None
    size_bytes: int
    source: str  # measured
    run: str
    mean: IntervalOut
    tasks: dict[str, IntervalOut]
    against_first: DifferenceOut | None


class LeftOutOut(Schema):
    version: str
    model: str
    run: str
    why: str
    differs: list[str]


class LeaderboardOut(Schema):
    suite: str | None
    suite_version: str | None
    headline: str
    items: list[RowOut]
    next: str | None
    not_compared: list[LeftOutOut]


class SideOut(Schema):
    version: str
    model: str
    run: str
    mean: IntervalOut | None


class TaskCompareOut(Schema):
    task: str
    a: IntervalOut
    b: IntervalOut
    result: DifferenceOut


class CompareOut(Schema):
    suite: str
    suite_version: str
    sentence: str
    a: SideOut
    b: SideOut
    tasks: list[TaskCompareOut]
    overall: DifferenceOut  # b minus a


@router.get("/leaderboard", response=LeaderboardOut)
def leaderboard(request: HttpRequest, suite: str = "") -> dict[str, Any]:
    """Versions that ran the suite under the same conditions, best first; `suite` is a name or `name@version`."""
    user = signed_in(request)
    chosen = chosen_suite(user, suite)
    if chosen is None:
        headline = "Nothing is measured yet"
        return {
            "suite": None,
            "suite_version": None,
            "headline": headline,
            "items": [],
            "next": None,
            "not_compared": [],
        }
    return board_out(board(user, chosen))


class ReportedOut(Schema):
    """`score` in per cent, under a setting of the reporter's own; `kind` is open or closed."""

    model: str
    kind: str
    benchmark: str
    score: float
    setting: str
    self_reported: bool
    date: str
    source: str = "reported"
    read_in: str


class ReportedListOut(Schema):
    benchmark: str
    benchmarks: list[str]
    items: list[ReportedOut]
    next: str | None = None


@router.get("/leaderboard/reported", response=ReportedListOut)
def leaderboard_reported(request: HttpRequest, benchmark: str = "", q: str = "") -> dict[str, Any]:
    """What others published, best first; `q` holds words of the model's name. Never mixed with measured rows."""
    signed_in(request)
    benchmarks = reported_benchmarks()
    chosen = benchmark or benchmarks[0]
    rows = reported_rows(chosen, q)
    items = [asdict(row) | {"source": "reported", "read_in": row.source} for row in rows]
    return {"benchmark": chosen, "benchmarks": benchmarks, "items": items}


@router.get("/leaderboard/compare", response=CompareOut)
def compare(request: HttpRequest, a: str, b: str, suite: str = "") -> dict[str, Any]:
    """Version b minus version a, item by item. 409 where the two were not measured alike."""
    user = signed_in(request)
    reference, other = version_named(user, a, field="a"), version_named(user, b, field="b")
    if reference == other:
        raise invalid("b", "Choose two different versions.", value=b)
    chosen = chosen_suite(user, suite)
    pairs = compare_versions(user, chosen.name, reference, [other]) if chosen else []
    if not pairs:
        known = EvalRun.objects.visible_to(user).done().filter(version__in=[reference, other])
        names = set(known.values_list("suite__name", flat=True))
        raise unknown_choice("suite", chosen.name if chosen else suite, names, noun="run of both on suite")
    result = result_of(pairs[0])
    pair = result.pair
    return {
        "suite": pair.here.suite.name,
        "suite_version": pair.here.suite.version,
        "sentence": result.sentence,
        "a": _side(pair.there, [task.there for task in pair.tasks]),
        "b": _side(pair.here, [task.here for task in pair.tasks]),
        "tasks": [
            {
                "task": task.task,
                "a": interval_out(score_interval(task.there)),
                "b": interval_out(score_interval(task.here)),
                "result": difference_out(task.result),
            }
            for task in pair.tasks
        ],
        "overall": difference_out(result.overall),
    }


def _side(run: EvalRun, scores: list[Score]) -> dict[str, Any]:
    mean = mean_of_tasks(scores)
    return {
        "version": run.version.public_id,
        "model": run.version.model.name,
        "run": run.public_id,
        "mean": interval_out(mean) if mean else None,
    }


def difference_out(result: Comparison | None) -> dict[str, Any] | None:
    if result is None:
        return None
    names = ("verdict", "difference", "low", "high", "p_value", "n", "method")
    counts = {"ahead": result.candidate_ahead, "behind": result.baseline_ahead}
    return {name: getattr(result, name) for name in names} | counts


def board_out(shown: Board) -> dict[str, Any]:
    return {
        "suite": shown.suite.name,
        "suite_version": shown.suite.version,
        "headline": shown.headline,
        "items": [_row_out(row) for row in shown.rows],
        "next": None,
        "not_compared": [
            {
                "version": each.run.version.public_id,
                "model": each.run.version.model.name,
                "run": each.run.public_id,
                "why": each.why,
                "differs": each.fields,
            }
            for each in shown.left_out
        ],
    }


def _row_out(row: Row) -> dict[str, Any]:
    names = ("label", "note", "precision", "parameter_count")
    pair = row.against_first
    return {name: getattr(row.version, name) for name in names} | {
        "rank_low": row.rank_low,
        "rank_high": row.rank_high,
        "version": row.version.public_id,
        "model": row.version.model.name,
        "size_bytes": row.size_bytes,
        "source": "measured",
        "run": row.run.public_id,
        "mean": interval_out(row.mean),
        "tasks": {task: interval_out(interval) for task, interval in row.intervals.items()},
        "against_first": difference_out(pair.overall) if pair else None,
    }
