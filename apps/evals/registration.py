"""A finished run becomes scores and samples: all of them, or none."""

from __future__ import annotations

import math
import re
from typing import Any

from apps.engines.base import RunSpec
from apps.evals.identity import computed_precision, options_that_matter
from apps.evals.models import EvalRun, SampleResult, Score
from apps.evals.sample_lines import BadResult, read_samples
from apps.jobs.blobs import blob_path
from apps.jobs.models import Attempt, Job

# what follows `samples_<task>_` in a file's name: lm-eval's time stamp, or the fake engine's mark
_STAMP = r"(?:\d{4}-\d\d-\d\dT[^/]*|fake)"


def register_scores(job: Job) -> None:
    """Called in the finishing transaction; doing it again changes nothing. Raises BadResult."""
    run = EvalRun.objects.filter(job=job).select_related("suite", "version").first()
    if run is None or job.status != "succeeded" or run.scores.exists():
        return
    attempt = job.attempts.order_by("-epoch").first()
    data = job.result.get("data", {})
    if attempt is None or not isinstance(data.get("tasks"), list):
        raise BadResult("the run reported no scores")
    by_task: dict[str, list[dict[str, Any]]] = {}
    for row in data["tasks"]:
        by_task.setdefault(row["task"], []).append(row)
    for task in (each for each in run.suite.tasks if each["name"] in run.tasks):
        rows = by_task.get(task["name"], [])
        headline = _headline(task, rows)
        answered = _samples_of(attempt, headline)
        for sample in answered:
            sample.run = run
        Score.objects.bulk_create(
            _score(run, data, row, is_headline=row is headline, item_count=len(answered)) for row in rows
        )
        SampleResult.objects.bulk_create(answered, batch_size=1000)
    _record_duration(attempt, data)


def _headline(task: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The suite's chosen metric, or the only one there is."""
    wanted = (task["metric"], task["filter"])
    found = [row for row in rows if (row["metric"], row["filter"]) == wanted] or (rows if len(rows) == 1 else [])
    if not found:
        there = ", ".join(f"{row['metric']} ({row['filter']})" for row in rows) or "nothing"
        raise BadResult(f"{task['name']} has no {wanted[0]} ({wanted[1]}); the run reported {there}")
    return found[0]


def _samples_of(attempt: Attempt, headline: dict[str, Any]) -> list[SampleResult]:
    task = headline["task"]
    pattern = re.compile(rf"(?:.*/)?samples_{re.escape(task)}_{_STAMP}\.jsonl")
    output = next((each for each in attempt.outputs.order_by("name") if pattern.fullmatch(each.name)), None)
    if output is None:
        raise BadResult(f"the samples of {task} did not arrive")
    with blob_path(output.sha256).open("rb") as lines:
        samples = read_samples(task, headline["metric"], headline["filter"], lines)
    expected = headline.get("n_samples")
    if not samples or (expected is not None and len(samples) != expected):
        raise BadResult(f"{task} has {len(samples)} samples, but its score counts {expected} items")
    return samples


def _score(run: EvalRun, data: dict[str, Any], row: dict[str, Any], *, is_headline: bool, item_count: int) -> Score:
    if not math.isfinite(row["value"]):
        raise BadResult(f"{row['task']} has the {row['metric']} {row['value']}, which is not a finite number")
    stderr = row.get("stderr")
    spec = RunSpec.model_validate(run.job.spec)
    return Score(
        run=run,
        version=run.version,
        task=row["task"],
        metric=row["metric"],
        filter=row["filter"],
        value=row["value"],
        standard_error=stderr if stderr is not None and math.isfinite(stderr) else None,
        item_count=item_count,
        higher_is_better=bool(row.get("higher_is_better", True)),
        is_headline=is_headline,
        precision=computed_precision(spec, run.job.variant),
        engine=run.engine,
        engine_version=str(data.get("lm_eval_version") or ""),
        engine_options=options_that_matter(spec),
        suite_version=str(run.suite),
        task_version=str(row.get("version") or ""),
        num_fewshot=row.get("n_shot") or 0,
        chat_template_sha256=data.get("chat_template_sha") or "",
    )


def _record_duration(attempt: Attempt, data: dict[str, Any]) -> None:
    """What the engine says it took, to be held against the estimate."""
    seconds = data.get("total_seconds")
    if isinstance(seconds, int | float) and math.isfinite(seconds):
        attempt.measurements = attempt.measurements | {"eval_seconds": float(seconds)}
        attempt.save(update_fields=["measurements"])
