"""The loop as one request: train, evaluate what was trained, serve it; and the same again by a schedule."""

from __future__ import annotations

from typing import Any

import pytest

from tests.flows.stack import Stack, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_a_pipeline_runs_from_training_to_a_live_endpoint(stack: Stack, version: str, dataset: str) -> None:
    def tune(name: str, **options: Any) -> dict[str, Any]:
        return {"name": name, "base": version, "dataset": dataset, "engine": "fake-train", "options": options}

    check = {"version": {"from_job": "tune"}, "suite": "tour", "engine": "fake-eval", "options": {"seconds": 1}}
    serve = {"version": {"from_job": "tune"}, "name": "piped", "engine": "fake-serve", "options": {"seconds": 0.5}}
    longer = tune("piped-longer", seconds={"from": "check", "path": "data.tasks.0.value"}, steps=3)
    steps = stack.post(
        "pipelines",
        {
            "steps": [
                {"name": "serve", "kind": "serve", "after": ["check"], "body": serve},
                {"name": "longer", "kind": "train", "body": longer},
                {"name": "check", "kind": "evaluate", "body": check},
                {"name": "tune", "kind": "train", "body": tune("piped", seconds=2, steps=4)},
            ]
        },
    )["steps"]
    jobs = {step["name"]: step["job"]["id"] for step in steps}
    assert stack.get(f"jobs/{jobs['serve']}")["status"] == "queued"
    for name in ("tune", "check", "longer"):
        stack.job_in(jobs[name], "succeeded")
    (endpoint,) = [row for row in stack.get("endpoints")["items"] if row["name"] == "piped"]
    wait_for(lambda: stack.get(f"endpoints/{endpoint['id']}")["is_ready"], 60, lambda: str(stack.get("endpoints")))
    (made,) = [row for row in stack.get("fine-tunes")["items"] if row["name"] == "piped"]
    (run,) = [row for row in stack.get("eval-runs")["items"] if row["job"]["id"] == jobs["check"]]
    assert made["output"] == run["version"] == endpoint["version"]
    first = stack.get(f"eval-runs/{run['id']}")["scores"]
    taken = stack.get(f"jobs/{jobs['longer']}")["spec"]["options"]["seconds"]
    assert taken in [score["value"] for score in first]
    stack.post(f"endpoints/{endpoint['id']}/stop", {})

    schedule = stack.post("schedules", {"job": jobs["check"], "cron": "* * * * *"})
    again = wait_for_job(stack, schedule["id"])
    stack.post(f"schedules/{schedule['id']}/disable", {})
    stack.job_in(again, "succeeded")
    (repeated,) = [row for row in stack.get("eval-runs")["items"] if row["job"]["id"] == again]
    assert repeated["version"] == run["version"]


def wait_for_job(stack: Stack, schedule: str) -> str:
    """Its time comes with the next minute, and the chore looks every 20 s."""
    wait_for(lambda: stack.get(f"schedules/{schedule}")["last_job"], 100, lambda: str(stack.get("schedules")))
    job: str = stack.get(f"schedules/{schedule}")["last_job"]["id"]
    return job
