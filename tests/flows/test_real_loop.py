"""The loop on real engines: vLLM, lm-eval and Axolotl on the small real model, on this machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from apps.tour.steps import ENDPOINT_NAME, TRAINING_OPTIONS
from stackweb.embedded.ports import is_free
from tests.flows.stack import Stack

VERDICTS = {"better", "worse", "no difference shown"}


@pytest.mark.engines
@pytest.mark.timeout(2400)
def test_the_tour_passes_and_leaves_what_it_promises(tmp_path: Path) -> None:
    """5 minutes on 2 idle cores, 12 on busy ones; 3 to 8 more where the tour has to install the engines first."""
    stack = Stack(tmp_path)
    try:
        stack.up()
        toured = subprocess.run(
            [Path(sys.executable).with_name("stackweb"), "tour"],
            env=stack.environment, capture_output=True, text=True, timeout=2100, check=False,
        )  # fmt: skip
        assert toured.returncode == 0, toured.stdout + toured.stderr
        tour = stack.get("tours")["items"][0]
        assert [step["status"] for step in tour["steps"]] == ["done"] * 7
        engine_port = check_endpoint(stack)
        base, tuned = check_fine_tune(stack)
        check_evaluations(stack, base, tuned)
        ports = [stack.port.port, engine_port, *json.loads((stack.home / "run" / "ports.json").read_text()).values()]
        assert stack.down() == 0, stack.printed()
        assert stack.processes() == []
        assert [port for port in ports if not is_free(port)] == []
    finally:
        for process in stack.processes():
            process.kill()


def check_endpoint(stack: Stack) -> int:
    """Live, answers through the gateway, and its memory was predicted and measured. Returns the engine's port."""
    (row,) = [row for row in stack.get("endpoints")["items"] if row["name"] == ENDPOINT_NAME]
    endpoint = stack.get(f"endpoints/{row['id']}")
    assert (endpoint["state"], endpoint["is_ready"], endpoint["engine"]) == ("Live", True, "vllm")
    key = stack.post("virtual-keys", {"name": "loop"})["key"]
    asked = {"model": ENDPOINT_NAME, "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 16}
    answer = httpx.post(
        f"{stack.url}/v1/chat/completions", json=asked, headers={"Authorization": f"Bearer {key}"}, timeout=60
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["usage"]["completion_tokens"] > 0
    assert answer.json()["choices"][0]["message"]["content"]
    assert {"kv_cache_tokens", "max_concurrency", "peak_memory_bytes"} <= measured(endpoint).keys()
    argv = stack.get(f"jobs/{endpoint['job']['id']}")["attempts"][0]["ran"]["argv"]
    return int(argv[argv.index("--port") + 1])


def check_fine_tune(stack: Stack) -> tuple[str, str]:
    """A whole loss curve, and a version below its base. Returns the ids of base and tuned version."""
    (row,) = stack.get("fine-tunes")["items"]
    fine_tune = stack.get(f"fine-tunes/{row['id']}")
    assert (fine_tune["engine"], fine_tune["job"]["status"]) == ("axolotl", "succeeded")
    curves = {series["name"]: series for series in stack.get(f"jobs/{fine_tune['job']['id']}/metrics")}
    assert curves["loss"]["steps"] == list(range(1, TRAINING_OPTIONS["max_steps"] + 1))
    assert curves["loss"]["values"][-1] < curves["loss"]["values"][0]
    assert {"peak_memory_bytes", "train_seconds", "step_seconds"} <= measured(fine_tune).keys()
    (model,) = stack.get("models", q=fine_tune["name"])["items"]
    (version,) = stack.get(f"models/{model['id']}")["versions"]
    assert version["id"] == fine_tune["output"]
    parents = [(parent["version"], parent["relation"], parent["job"]) for parent in version["parents"]]
    assert parents == [(fine_tune["base"], "adapter", fine_tune["job"]["id"])]
    assert version["artifacts"][0]["role"] == "adapter"
    return fine_tune["base"], fine_tune["output"]


def check_evaluations(stack: Stack, base: str, tuned: str) -> None:
    """Both ran every item, and the leaderboard holds the two against each other with intervals."""
    runs = [stack.get(f"eval-runs/{row['id']}") for row in stack.get("eval-runs")["items"]]
    assert {run["version"] for run in runs} == {base, tuned}
    for run in runs:
        assert sum(score["n"] for score in run["scores"] if score["is_headline"]) == 100
        assert len(stack.get(f"eval-runs/{run['id']}/samples", limit=200)["items"]) == 100
        assert "eval_seconds" in measured(run)
    board = stack.get("leaderboard", suite="tour")
    assert {row["version"] for row in board["items"]} == {base, tuned}
    for row in board["items"]:
        assert row["source"] == "measured"
        assert row["mean"]["low"] < row["mean"]["value"] < row["mean"]["high"]
    overall = stack.get("leaderboard/compare", a=base, b=tuned, suite="tour")["overall"]
    assert overall["verdict"] in VERDICTS
    assert overall["low"] <= overall["difference"] <= overall["high"]
    assert overall["n"] == 100


def measured(row: dict[str, Any]) -> dict[str, float]:
    """Quantities that were both estimated before and measured after."""
    assert row["estimates"]
    return {each["quantity"]: each["measured"] for each in row["estimates"] if each["measured"]}
