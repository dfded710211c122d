"""A finished job with lm-eval's own files, as recorded from a real run of two tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from apps.accounts.models import Team
from apps.engines.adapters.lm_eval import LmEval
from apps.engines.base import RunSpec
from apps.evals.models import EvalRun, Suite
from apps.evals.shipped_suites import sync_suites
from apps.jobs.blobs import put_blob
from apps.jobs.models import Job, Output
from tests.factories import make_attempt, make_host, make_model_version, make_team

RECORDED = Path(__file__).resolve().parents[1] / "engines" / "recorded" / "lm-eval"
TASKS = ["tour_choice", "tour_answer"]


@pytest.fixture(autouse=True)
def blobs(settings: Any, tmp_path: Path) -> None:
    settings.BLOB_DIR = tmp_path / "blobs"


@pytest.fixture
def team(db: None) -> Team:
    return make_team("Red")


@pytest.fixture
def suite(db: None) -> Suite:
    return next(suite for suite in sync_suites() if suite.name == "tour")


@pytest.fixture
def finished_run(team: Team, suite: Suite) -> EvalRun:
    """A run whose job is about to succeed: its result and output files are there, its scores not yet."""
    spec = RunSpec(
        kind="evaluate", engine="lm-eval", options={"dtype": "auto", "apply_chat_template": True, "batch_size": 4},
        payload={"tasks": TASKS, "limit": None, "num_fewshot": None},
    )  # fmt: skip
    result = LmEval().collect(spec, RECORDED)
    for row in result.data["tasks"]:
        row["n_samples"] = 2  # the recording keeps the first two lines of each task
    job = Job.objects.create(
        team=team, kind="evaluate", name="Evaluate", engine="lm-eval", spec=spec.model_dump(mode="json"),
        status="running", result=result.model_dump(mode="json"),
    )  # fmt: skip
    attempt = make_attempt(job, make_host())
    for name in result.outputs:
        blob = put_blob((RECORDED / name).read_bytes())
        Output.objects.create(job=job, attempt=attempt, name=name, sha256=blob.sha256, size_bytes=blob.size_bytes)
    return EvalRun.objects.create(
        team=team, version=make_model_version(team), suite=suite, engine="lm-eval", tasks=TASKS, job=job
    )
