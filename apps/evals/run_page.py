"""What the page of one eval run shows: tasks, the paired difference to another run, samples, receipt."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from apps.accounts.models import User
from apps.calibration.comparisons import compare
from apps.evals.baselines import choices_for, chosen_baseline
from apps.evals.comparison import (
    RunComparison,
    compare_runs,
    headline_scores,
    mean_of_tasks,
    score_interval,
    values_of,
)
from apps.evals.models import EvalRun, Score
from apps.evals.outcomes import OUTCOMES, SampleFilter, outcome_counts, sample_page
from apps.evals.plans import ENGINE
from apps.evals.wording import difference_cells, score_cells
from apps.jobs.job_page import job_page
from apps.jobs.models import Job


def run_page(run: EvalRun, user: User, *, against: str, task: str, show: str, cursor: str) -> dict[str, Any]:
    """The template's context; `against` is a run's id, or `none`."""
    job = Job.objects.for_display().get(pk=run.job_id)
    task = task if task in run.tasks else ""
    scores = headline_scores(run)
    baseline = chosen_baseline(run, user, against) if scores else None
    values = values_of([run, baseline] if baseline else [run]) if scores else {}
    comparison = compare_runs(run, baseline, values) if baseline else None
    counts = outcome_counts(run, baseline, values, task=task)
    chosen = SampleFilter(run, baseline, task=task, show=_shown(show, counts), cursor=cursor)
    return job_page(job) | {
        "run": run,
        "mean": score_cells(mean_of_tasks(scores)),
        "overall": difference_cells(comparison.overall) if comparison else None,
        "scores": scores,
        "comparison": comparison,
        "baseline": baseline,
        "choices": choices_for(run, user) if scores else [],
        "against": baseline.public_id if baseline else "none",
        "tasks": _tasks(run, scores, comparison),
        "headline": _headline(run, comparison, scores),
        "task": task,
        "outcomes": [(key, OUTCOMES[key], count) for key, count in counts.items()],
        "samples": sample_page(chosen, values),
        "receipt": receipt(run, job, scores),
        "again": again_query(run, job),
        "comparisons": compare(job),
    }


def _shown(show: str, counts: dict[str, int]) -> str:
    """What a person asked for, else the first outcome that has items: what was lost comes first."""
    if show in counts:
        return show
    return next((key for key, count in counts.items() if count), next(iter(counts), ""))


def _tasks(run: EvalRun, scores: list[Score], comparison: RunComparison | None) -> list[dict[str, Any]]:
    """One row for each task that was asked for, the largest loss first."""
    titles = {task["name"]: task["title"] for task in run.suite.tasks}
    compared = {task.task: task for task in comparison.tasks} if comparison else {}
    rows = []
    for score in scores:
        pair = compared.get(score.task)
        rows.append(
            {
                "title": titles.get(score.task, score.task),
                "score": score,
                "cells": score_cells(score_interval(score)),
                "pair": pair,
                "diff": difference_cells(pair.result) if pair else None,
            }
        )
    rows.sort(key=lambda row: row["diff"]["difference"] if row["diff"] else 0.0)
    return rows


def _headline(run: EvalRun, comparison: RunComparison | None, scores: list[Score]) -> str:
    name, suite = run.version.model.name, run.suite.name
    if comparison and comparison.overall:
        other = comparison.there.version.model.name
        points = f"{abs(100 * comparison.overall.difference):.1f} points"
        return {
            "better": f"{name} beats {other} on {suite} by {points}",
            "worse": f"{name} loses to {other} on {suite} by {points}",
            "no difference shown": f"No difference shown between {name} and {other} on {suite}",
        }[comparison.overall.verdict]
    return f"{name} on {suite}"


def receipt(run: EvalRun, job: Job, scores: list[Score]) -> list[tuple[str, str]]:
    """Everything that makes the scores what they are; enough to run it again exactly."""
    spec = job.spec
    score = scores[0] if scores else None
    rows = [
        ("Model", f"{run.version.model.name} {run.version.label}"),
        ("Weights", _weights(run)),
        ("Precision", score.precision if score else ""),
        ("Engine", f"{run.engine} {score.engine_version}" if score else run.engine),
        ("Suite", str(run.suite)),
        ("Tasks", ", ".join(f"{each.task} {each.task_version}" for each in scores) or ", ".join(run.tasks)),
        ("Few-shot", ", ".join(sorted({str(each.num_fewshot) for each in scores}))),
        ("Chat template", score.chat_template_sha256[:8] or "not used" if score else ""),
        ("Items", f"first {spec['payload']['limit']} of each task" if spec.get("payload", {}).get("limit") else "all"),
        ("Options", ", ".join(f"{name} {value}" for name, value in sorted(run.options.items()))),
        ("Started by", str(run.created_by or "Stackweb")),
    ]
    return [(title, value) for title, value in rows if value]


def again_query(run: EvalRun, job: Job) -> str:
    """The form's query for the same run; empty where that version of the suite is no longer offered."""
    whole = len(run.tasks) == len(run.suite.tasks)
    if not run.suite.is_current or not whole or run.engine != ENGINE:
        return ""
    payload = job.spec.get("payload", {})
    limits = {name: payload[name] for name in ("limit", "num_fewshot") if payload.get(name) is not None}
    return urlencode({"version": run.version.public_id, "suite": run.suite.name} | limits | run.options)


def _weights(run: EvalRun) -> str:
    artifact = run.version.artifacts.order_by("pk").first()
    return f"sha256 {artifact.manifest_sha256[:12]}" if artifact and artifact.manifest_sha256 else ""
