"""An eval run of the fake engine arrives whole, and is never taken for a measurement."""

from __future__ import annotations

import httpx
import pytest

from tests.flows.stack import Stack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_an_eval_run_has_scores_and_samples_but_no_place_on_the_leaderboard(
    stack: Stack, browser: httpx.Client, version: str
) -> None:
    asked = {"version": version, "suite": "tour", "engine": "fake-eval"}
    run = stack.post("eval-runs", asked | {"options": {"seconds": 1}})
    stack.job_in(run["job"]["id"], "succeeded")
    scores = stack.get(f"eval-runs/{run['id']}")["scores"]
    assert [(score["task"], score["metric"], score["n"]) for score in scores] == [
        ("tour_answer", "acc", 50),
        ("tour_choice", "acc", 50),
    ]
    for score in scores:
        assert score["low"] <= score["value"] <= score["high"]
    assert len(stack.get(f"eval-runs/{run['id']}/samples", limit=200)["items"]) == 100
    assert stack.get("leaderboard")["items"] == []
    assert "pebble" not in browser.get("/leaderboard").text
