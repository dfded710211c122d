"""Shapes of the REST API; scores and differences are fractions, intervals are 95 %."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.urls import reverse
from ninja import Schema

from apps.calibration.schemas import EstimateOut
from apps.catalog.asked_versions import FromJob
from apps.evals.comparison import score_interval
from apps.evals.models import EvalRun, SampleResult, Score, Suite
from apps.jobs.api import job_out
from apps.jobs.schemas import JobOut, TermsIn
from apps.statistics.intervals import Interval


class IntervalOut(Schema):
    """A score from `low` to `high`; `n` is the number of items."""

    value: float
    low: float
    high: float
    n: int


class TaskOut(Schema):
    name: str
    title: str
    metric: str
    filter: str
    num_fewshot: int
    item_count: int


class SuiteOut(Schema):
    name: str
    version: str
    title: str
    description: str
    options: dict[str, Any]
    tasks: list[TaskOut]


class SuitePage(Schema):
    items: list[SuiteOut]
    next: str | None


class EvalRunIn(TermsIn):
    """`version` is a model version's id, or {"from_job": "job-12"} for the one that a fine-tune's job makes;
    `suite` is a suite's name, `options` are those of the engine."""

    version: str | FromJob
    suite: str
    tasks: list[str] | None = None
    limit: int | None = None
    num_fewshot: int | None = None
    engine: str = "lm-eval"
    options: dict[str, Any] = {}
    team: str | None = None


class ScoreOut(IntervalOut):
    task: str
    metric: str
    filter: str
    is_headline: bool
    higher_is_better: bool
    standard_error: float | None
    precision: str
    engine: str
    engine_version: str
    engine_options: dict[str, Any]
    suite_version: str
    task_version: str
    num_fewshot: int
    chat_template_sha256: str


class EvalRunOut(Schema):
    id: str
    version: str
    suite: str
    suite_version: str
    tasks: list[str]
    engine: str
    options: dict[str, Any]
    url: str
    created_at: datetime
    job: JobOut


class EvalRunDetailOut(EvalRunOut):
    scores: list[ScoreOut]
    estimates: list[EstimateOut]


class EvalRunPage(Schema):
    items: list[EvalRunOut]
    next: str | None


class SampleOut(Schema):
    id: int
    task: str
    item: int
    item_sha256: str  # the same item in other runs
    value: float
    prompt: str
    answer: str
    target: str
    detail: dict[str, Any]


class SamplePage(Schema):
    items: list[SampleOut]
    next: str | None


def interval_out(interval: Interval) -> dict[str, Any]:
    return {name: getattr(interval, name) for name in ("value", "low", "high", "n")}


def suite_out(suite: Suite) -> dict[str, Any]:
    names = ("name", "version", "title", "description", "options", "tasks")
    return {name: getattr(suite, name) for name in names}


def eval_run_out(run: EvalRun) -> dict[str, Any]:
    return {
        "id": run.public_id,
        "version": run.version.public_id,
        "suite": run.suite.name,
        "suite_version": run.suite.version,
        "tasks": run.tasks,
        "engine": run.engine,
        "options": run.options,
        "url": reverse("eval_run", args=[run.public_id]),
        "created_at": run.created_at,
        "job": job_out(run.job),
    }


def score_out(score: Score) -> dict[str, Any]:
    names = set(ScoreOut.model_fields) - set(IntervalOut.model_fields)
    return interval_out(score_interval(score)) | {name: getattr(score, name) for name in names}


def sample_out(sample: SampleResult) -> dict[str, Any]:
    return {"id": sample.pk} | {name: getattr(sample, name) for name in SampleOut.model_fields if name != "id"}
