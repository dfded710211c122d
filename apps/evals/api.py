"""REST: suites, eval runs, their scores and samples."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Router, Status

from apps.accounts.problems import unknown_choice
from apps.accounts.rest import create_once, page_of, signed_in
from apps.calibration.schemas import estimates_out
from apps.catalog.lookups import version_named
from apps.evals.lookups import suite_named, visible_run
from apps.evals.models import EvalRun, Suite
from apps.evals.schemas import (
    EvalRunDetailOut,
    EvalRunIn,
    EvalRunOut,
    EvalRunPage,
    SamplePage,
    SuitePage,
    eval_run_out,
    sample_out,
    score_out,
    suite_out,
)
from apps.evals.submitting import submit_eval_run

router = Router(tags=["evaluations"])


@router.get("/eval-suites", response=SuitePage)
def list_suites(request: HttpRequest) -> dict[str, Any]:
    """The current version of each suite."""
    return {
        "items": [suite_out(suite) for suite in Suite.objects.filter(is_current=True).order_by("name")],
        "next": None,
    }


@router.get("/eval-runs", response=EvalRunPage)
def list_eval_runs(
    request: HttpRequest,
    suite: str | None = None,
    version: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> dict[str, Any]:
    user = signed_in(request)
    rows = EvalRun.objects.visible_to(user).with_scores()
    if suite is not None:
        rows = rows.filter(suite__name=suite_named(suite).name)
    if version is not None:
        rows = rows.filter(version=version_named(user, version))
    return page_of(rows, cursor=cursor, limit=limit, show=eval_run_out)


@router.post("/eval-runs", response={201: EvalRunOut})
def create_eval_run(request: HttpRequest, payload: EvalRunIn) -> Status[dict[str, Any]]:
    user = signed_in(request)

    def create() -> dict[str, Any]:
        return eval_run_out(submit_eval_run(user, payload))

    return Status(*create_once(request, create))


@router.get("/eval-runs/{run_id}", response=EvalRunDetailOut)
def get_eval_run(request: HttpRequest, run_id: str) -> dict[str, Any]:
    run = visible_run(request, run_id)
    return eval_run_out(run) | {
        "scores": [score_out(score) for score in run.scores.order_by("task", "metric", "filter")],
        "estimates": estimates_out(run.job),
    }


@router.get("/eval-runs/{run_id}/samples", response=SamplePage)
def list_samples(
    request: HttpRequest, run_id: str, task: str | None = None, cursor: str | None = None, limit: int = 50
) -> dict[str, Any]:
    run = visible_run(request, run_id)
    rows = run.samples.all()
    if task is not None:
        if task not in run.tasks:
            raise unknown_choice("task", task, run.tasks, noun=f"task in {run.public_id}")
        rows = rows.filter(task=task)
    return page_of(rows, cursor=cursor, limit=limit, show=sample_out)
