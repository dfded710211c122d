"""What the Leaderboard and the Compare page show."""

from __future__ import annotations

from typing import Any

from apps.accounts.models import User
from apps.catalog.models import ModelVersion
from apps.evals.comparison import RunComparison, mean_of_tasks
from apps.evals.models import EvalRun, Suite
from apps.evals.wording import difference_cells, p_words, plus_minus, points, score_cells
from apps.leaderboard.board import Board, Row, board
from apps.leaderboard.comparison import compare_versions, sentence
from apps.leaderboard.scatter import scatter_of
from apps.leaderboard.suites import key_of, suites_with_runs

MAX_OTHERS = 3


def leaderboard_page(user: User, suite: Suite | None) -> dict[str, Any]:
    """The template's context; without a suite there is nothing to show."""
    suites = [(key_of(each), each) for each in suites_with_runs(user)]
    if suite is None:
        return {"board": None, "rows": [], "suites": suites}
    shown = board(user, suite)
    return {
        "board": shown,
        "suites": suites,
        "suite_key": key_of(suite),
        "tasks": [(task["name"], task["title"]) for task in suite.tasks],
        "rows": [_row(row, suite) for row in shown.rows],
        "compare_query": _compare_query(shown),
        "scatter": scatter_of(shown.rows),
    }


def _row(row: Row, suite: Suite) -> dict[str, Any]:
    shared = row.rank_low != row.rank_high
    pair = row.against_first
    return {
        "row": row,
        "version": row.version,
        "rank": f"{row.rank_low}–{row.rank_high}" if shared else str(row.rank_low),
        "mean": score_cells(row.mean),
        "tasks": [score_cells(row.intervals.get(task["name"])) for task in suite.tasks],
        "diff": difference_cells(pair.overall) if pair else None,
    }


def _compare_query(shown: Board) -> str:
    """The first row against the next ones."""
    ids = [row.version.public_id for row in shown.rows[: MAX_OTHERS + 1]]
    return "&".join([f"suite={key_of(shown.suite)}", f"a={ids[0]}", *(f"b={each}" for each in ids[1:])]) if ids else ""


def compare_page(user: User, suite: Suite | None, wanted: str, others: list[str]) -> dict[str, Any]:
    """The template's context. Unknown ids are left out; without a choice the two newest stand there."""
    versions = _versions(user, suite)
    by_id = {version.public_id: version for version in versions}
    reference = by_id.get(wanted) or next(iter(versions), None)
    chosen = [by_id[each] for each in dict.fromkeys(others) if each in by_id and by_id[each] != reference]
    if not chosen:
        chosen = [version for version in versions if version != reference][:1]
    chosen = chosen[:MAX_OTHERS]
    pairs = compare_versions(user, suite.name, reference, chosen) if suite and reference else []
    return {
        "suite": suite,
        "suite_key": key_of(suite) if suite else "",
        "suites": [(key_of(each), each) for each in suites_with_runs(user)],
        "versions": versions,
        "reference": reference,
        "others": [*chosen, None][:MAX_OTHERS],
        "pairs": [_pair(pair) for pair in pairs],
        "tasks": _task_rows(suite, pairs) if suite else [],
        "base": score_cells(mean_of_tasks([task.there for task in pairs[0].tasks])) if pairs else None,
        "headline": _headline(pairs),
        "lede": _lede(pairs),
    }


def _versions(user: User, suite: Suite | None) -> list[ModelVersion]:
    """Versions with a finished run on the suite, the newest run's first."""
    if suite is None:
        return []
    runs = EvalRun.objects.visible_to(user).done().filter(suite__name=suite.name).order_by("-pk")
    newest = list(dict.fromkeys(runs.values_list("version", flat=True)[:500]))
    rows = ModelVersion.objects.select_related("model").prefetch_related("artifacts").in_bulk(newest)
    return [rows[pk] for pk in newest]


def _pair(pair: RunComparison) -> dict[str, Any]:
    return {
        "pair": pair,
        "version": pair.here.version,
        "diff": difference_cells(pair.overall),
        "mean": score_cells(mean_of_tasks([task.here for task in pair.tasks])),
    }


def _task_rows(suite: Suite, pairs: list[RunComparison]) -> list[dict[str, Any]]:
    rows = []
    for task in suite.tasks:
        found = [next((each for each in pair.tasks if each.task == task["name"]), None) for pair in pairs]
        there = next((each.there for each in found if each), None)
        if there is None:
            continue
        cells = [
            {"why_not": each.why_not if each else "not run", "diff": difference_cells(each.result) if each else None}
            for each in found
        ]
        rows.append({"title": task["title"], "there": there, "cells": cells})
    return rows


def _lede(pairs: list[RunComparison]) -> str:
    """The numbers behind the headline and the tasks that carry it, then each other pair in a sentence."""
    parts = []
    if pairs and (result := pairs[0].overall):
        numbers = f"{points(result.difference)} {plus_minus(result.low, result.high)} points"
        parts.append(
            f"{numbers}, {p_words(result.p_value)}, on {result.n} items that both answered.{_carried(pairs[0])}"
        )
    parts += [sentence(pair, pair.overall) for pair in pairs[1:] if pair.overall]
    return " ".join(parts)


def _carried(pair: RunComparison) -> str:
    """On which tasks a difference shows; empty with a single task."""
    if len(pair.tasks) < 2:
        return ""
    titles = {task["name"]: task["title"] for task in pair.here.suite.tasks}
    words = []
    for verdict in ("better", "worse"):
        found = [titles[each.task] for each in pair.tasks if each.result and each.result.verdict == verdict]
        words += [f"{verdict} on {', '.join(found)}"] if found else []
    return f" {'; '.join(words).capitalize()}." if words else " No task shows a difference on its own."


def _headline(pairs: list[RunComparison]) -> str:
    if not pairs:
        return "Nothing to compare yet"
    pair = pairs[0]
    here, there, suite = pair.here.version.model.name, pair.there.version.model.name, pair.here.suite.name
    if pair.overall is None:
        return f"{here} and {there} were not measured alike on {suite}"
    margin = f"{abs(100 * pair.overall.difference):.1f} points"
    return {
        "better": f"{here} beats {there} by {margin} on {suite}",
        "worse": f"{here} loses to {there} by {margin} on {suite}",
        "no difference shown": f"No difference shown between {here} and {there} on {suite}",
    }[pair.overall.verdict]
