"""The planner over REST shows what earlier runs here make of its figures, beside the figures themselves."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from apps.accounts.models import Team
from apps.calibration.services import NewEstimate, record_estimates
from apps.evals.plans import FORMULA_VERSION as EVALUATION
from apps.planning.speeds import FORMULA_VERSION as ROOFLINE
from tests.factories import (
    api_headers,
    make_attempt,
    make_host,
    make_job,
    make_stored_version,
    make_suite,
    make_team,
    make_user,
)

pytestmark = pytest.mark.django_db
FACTOR = 1 + 0.2 * 3 / 5  # of three runs that took a fifth more than estimated


@pytest.fixture
def team() -> Team:
    return make_team("Lab")


@pytest.fixture
def ask(client: Client, team: Team) -> Any:
    headers = api_headers(make_user("alice", team=team))
    return lambda what, body: client.post(f"/api/v1/plan/{what}", body, "application/json", headers=headers).json()


def ran(team: Team, quantity: str, formula: str, *, device: str = "RTX 4090", engine: str = "vllm") -> None:
    """One run of which the quantity came out a fifth above its estimate."""
    job, context = make_job(team), {"device": device, "engine": engine, "family": "llama"}
    record_estimates(job=job, estimates=[NewEstimate(quantity, "x", 100, 90, 110, "low", formula, context)])
    make_attempt(job, make_host(), measurements={quantity: 120.0})


def test_a_fit_is_corrected_from_three_runs_on_and_keeps_its_own_figures(ask: Any, team: Team) -> None:
    make_host("atlas", gpus=1)
    model = {"model_id": "Llama-3.1-8B", "max_model_len": 4096}
    (before,) = ask("fit", model)["items"]
    for _ in range(2):
        ran(team, "decode_tokens_per_second", ROOFLINE)
    assert before["corrections"] == ask("fit", model)["items"][0]["corrections"] == []
    ran(team, "decode_tokens_per_second", ROOFLINE)
    for _ in range(3):
        ran(team, "kv_cache_tokens", before["formula_version"])
        ran(team, "weights_bytes", "another-1")
    (after,) = ask("fit", model)["items"]
    tokens, decode = after["corrections"]
    assert (tokens["figure"], decode["figure"]) == ("kv_tokens", "decode_tokens_per_s")
    for each in (tokens, decode):
        assert each["estimated"] == after[each["figure"]] == before[each["figure"]]
        assert each["corrected"] == pytest.approx(each["estimated"] * FACTOR, rel=0.001)
        assert (each["factor"], each["runs"], each["family"]) == (pytest.approx(FACTOR), 3, "llama")
    assert ask("fit", model | {"engine": "sglang"})["items"][0]["corrections"] == []
    assert ask("fit", model | {"precision": "Q8_0"})["items"][0]["corrections"] == []


def test_a_fine_tune_and_an_evaluation_are_corrected_too(ask: Any, team: Team) -> None:
    make_host("atlas", gpus=1)
    tuned = {"model_id": "Llama-3.1-8B", "method": "qlora"}
    version, suite = make_stored_version(team, host=make_host("cedar")), make_suite("quiz")
    evaluated = {"version": version.public_id, "suite": suite.name, "limit": 50}
    plan = ask("finetune", tuned)
    assert plan["corrections"] == ask("eval", evaluated)["corrections"] == []
    for _ in range(3):
        ran(team, "peak_memory_bytes", plan["formula_version"], engine="axolotl")
        for device in ("CPU", "RTX 4090"):
            ran(team, "eval_seconds", EVALUATION, device=device, engine="lm-eval")
    (peak,) = ask("finetune", tuned)["corrections"]
    assert (peak["figure"], peak["estimated"]) == ("peak_gib_per_gpu", plan["peak_gib_per_gpu"]["mid"])
    answer = ask("eval", evaluated)
    (seconds,) = answer["corrections"]
    assert (seconds["figure"], seconds["estimated"]) == ("seconds", answer["seconds"])
    assert seconds["corrected"] == pytest.approx(answer["seconds"] * FACTOR, rel=0.001)
