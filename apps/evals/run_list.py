"""What the Evaluations page shows: regressions first, then newest; the suites beside them."""

from __future__ import annotations

from typing import Any

from django.db.models import Count, Q

from apps.accounts.models import User
from apps.accounts.paging import cut_page, whole_number
from apps.accounts.problems import Problem
from apps.catalog.models import ModelVersion
from apps.evals.baselines import baselines_of
from apps.evals.comparison import RunComparison, compare_runs, headline_scores, mean_of_tasks, values_of
from apps.evals.models import EvalRun, Suite
from apps.evals.plans import plan_eval_run
from apps.evals.wording import difference_cells, score_cells
from apps.jobs.presentation import reason_sentence, state_word

PAGE_SIZE = 25
FILTERS = {
    "all": "All",
    "worse": "Worse",
    "better": "Better",
    "same": "No difference",
    "open": "In progress",
}
_WORDS = {"worse": "Worse", "better": "Better", "same": "No difference shown"}


def run_list(user: User, *, show: str, suite: str, cursor: str) -> dict[str, Any]:
    """The template's context. An unknown filter shows everything; a foreign cursor the first page."""
    visible = EvalRun.objects.visible_to(user)
    if suite:
        visible = visible.filter(suite__name=suite)
    before = whole_number(cursor)
    older = visible if before is None else visible.filter(pk__lt=before)
    found, following = cut_page(older.with_scores().order_by("-pk"), PAGE_SIZE)
    rows = _rows(found, user)
    show = show if show in FILTERS else "all"
    return {
        "headline": _headline(rows),
        "lede": _lede(rows),
        "rows": [row for row in _sorted(rows) if _is_shown(row, show)],
        "is_empty": not rows,
        "filters": [(key, title, sum(_is_shown(row, key) for row in rows)) for key, title in FILTERS.items()],
        "show": show,
        "suites": suite_rows(user),
        "suite": suite,
        "next": following,
        "is_moving": any(not row["job"].is_over for row in rows),
    }


def _rows(runs: list[EvalRun], user: User) -> list[dict[str, Any]]:
    baselines = baselines_of(runs, user)
    done = [run for run in runs if headline_scores(run)]
    values = values_of([*(run for run in done if run.pk in baselines), *baselines.values()]) if baselines else {}
    return [_row(run, baselines.get(run.pk), values) for run in runs]


def _row(run: EvalRun, baseline: EvalRun | None, values: dict[int, Any]) -> dict[str, Any]:
    scores = headline_scores(run)
    comparison: RunComparison | None = compare_runs(run, baseline, values) if baseline and scores else None
    return {
        "run": run,
        "job": run.job,
        "state": state_word(run.job),
        "reason": reason_sentence(run.job),
        "mean": score_cells(mean_of_tasks(scores)),
        "baseline": baseline,
        "comparison": comparison,
        "diff": difference_cells(comparison.overall) if comparison else None,
        "loss": _loss(comparison) if comparison else "",
        "word": comparison.word if comparison else "",
    }


def _loss(comparison: RunComparison) -> str:
    """Where it was lost, for a run that got worse."""
    worst = comparison.worst
    if comparison.word != "Worse" or worst is None or worst.result is None:
        return ""
    numbers = f"{100 * worst.there.value:.1f} to {100 * worst.here.value:.1f} on {worst.result.n} items"
    return f"The loss is in {worst.task}: {numbers}."


def _is_shown(row: dict[str, Any], show: str) -> bool:
    if show == "open":
        return not row["job"].is_over
    return show == "all" or row["word"] == _WORDS[show]


def _sorted(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: row["word"] != "Worse")  # sorted() keeps the rest newest first


def _headline(rows: list[dict[str, Any]]) -> str:
    worse = [row for row in rows if row["word"] == "Worse"]
    if worse:
        first = worse[0]["run"]
        more = f", and {len(worse) - 1} more" if len(worse) > 1 else ""
        return f"{first.version.model.name} got worse on {first.suite.name}{more}"
    compared = [row for row in rows if row["word"]]
    if any(row["word"] == "Better" for row in compared):
        better = next(row["run"] for row in compared if row["word"] == "Better")
        return f"{better.version.model.name} got better on {better.suite.name}"
    if compared:
        return "No difference shown in any comparison"
    running = sum(not row["job"].is_over for row in rows)
    if running:
        return f"{running} evaluation{'s' if running > 1 else ''} in progress"
    return f"{len(rows)} evaluation{'s' if len(rows) != 1 else ''}, none compared yet"


def _lede(rows: list[dict[str, Any]]) -> str:
    running = sum(row["job"].status in ("starting", "running") for row in rows)
    waiting = sum(row["job"].status in ("queued", "held") for row in rows)
    failed = sum(row["job"].status == "failed" for row in rows)
    parts = [
        f"{count} {words}"
        for count, words in ((running, "in progress"), (waiting, "waiting"), (failed, "failed"))
        if count
    ]
    return f"{', '.join(parts)}. " if parts else ""


def suite_rows(user: User) -> list[dict[str, Any]]:
    """Current suites with their size, and the time for the newest model that can be evaluated."""
    visible = EvalRun.objects.visible_to(user).done()
    counted = Suite.objects.filter(is_current=True).annotate(
        model_count=Count("runs__version", filter=Q(runs__in=visible), distinct=True)
    )
    versions = ModelVersion.objects.visible_to(user).filter(artifacts__isnull=False).select_related("model")
    newest = versions.order_by("-pk").first()
    return [
        {"suite": suite, "model": newest, "duration": _duration(newest, suite)} for suite in counted.order_by("name")
    ]


def _duration(version: ModelVersion | None, suite: Suite) -> Any:
    if version is None:
        return None
    try:
        return plan_eval_run(version=version, suite=suite, options={}).duration
    except Problem:
        return None
