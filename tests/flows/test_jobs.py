"""From a form or the API through web, broker, control worker and GPU worker to a result, and what goes wrong."""

from __future__ import annotations

import html
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psutil
import pytest

from tests.flows.stack import Broker, Stack, is_alive, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
CAUSE = "The fake disk caught fire in sector 7"


@pytest.fixture
def tuned(stack: Stack, version: str, dataset: str) -> Iterator[Any]:
    """Starts fine-tunes with the fake engine; what still runs when the test ends is cancelled."""
    jobs: list[str] = []

    def start(name: str, key: str = "", **options: Any) -> Any:
        body = {"name": name, "base": version, "dataset": dataset, "engine": "fake-train", "options": options}
        made = stack.post("fine-tunes", body, **({"Idempotency-Key": key} if key else {}))
        jobs.append(made["job"]["id"])
        return made

    yield start
    for job in jobs:
        stack.api.post(f"jobs/{job}/cancel")


def test_a_fine_tune_runs_is_followed_and_registered_and_a_double_submit_is_one_job(stack: Stack, tuned: Any) -> None:
    with ThreadPoolExecutor(2) as pool:
        wishes = [pool.submit(tuned, "double", key="one-click", seconds=3, steps=12) for _ in range(2)]
        first, second = (wish.result() for wish in wishes)
    assert first["id"] == second["id"]
    job = first["job"]["id"]
    assert [row["id"] for row in stack.get("fine-tunes")["items"] if row["name"] == "double"] == [first["id"]]
    running = stack.job_in(job, "running")
    assert running["host"]
    done = stack.job_in(job, "succeeded")
    assert "This is the fake engine" in stack.log_of(job)
    curves = {series["name"]: series for series in stack.get(f"jobs/{job}/metrics")}
    assert curves["loss"]["steps"] == list(range(1, 13))
    assert curves["loss"]["values"][-1] < curves["loss"]["values"][0]
    assert done["progress"] == 1.0
    (attempt,) = done["attempts"]
    assert (attempt["exit_code"], attempt["reason"]) == (0, "")
    assert attempt["measurements"]["peak_memory_bytes"] == 1_000_000
    assert "fake_run" in " ".join(attempt["ran"]["argv"])
    made = stack.get(f"fine-tunes/{first['id']}")
    (model,) = [row for row in stack.get("models", q="double")["items"] if row["name"] == "double"]
    detail = stack.get(f"models/{model['id']}")["versions"][0]
    assert detail["id"] == made["output"]
    assert [(parent["version"], parent["relation"]) for parent in detail["parents"]] == [(made["base"], "adapter")]


def test_a_cancelled_job_ends_its_engine_and_may_run_again(stack: Stack, tuned: Any) -> None:
    job = tuned("stopped", seconds=4)["job"]["id"]
    stack.job_in(job, "running")
    wait_for(lambda: stack.get(f"jobs/{job}")["attempts"][0]["ran"], 10, lambda: "the worker never said what ran")
    pid = stack.get(f"jobs/{job}")["attempts"][0]["ran"]["pid"]
    assert is_alive(pid)
    assert stack.post(f"jobs/{job}/cancel", {})["status"] == "cancelling"
    stack.job_in(job, "cancelled")
    assert not is_alive(pid), "cancelled, but the engine still runs"
    assert stack.api.post(f"jobs/{job}/cancel").status_code == 409
    stack.post(f"jobs/{job}/retry", {})
    again = stack.job_in(job, "succeeded")
    assert [(each["epoch"], each["reason"]) for each in again["attempts"]] == [(2, ""), (1, "cancelled_by_user")]


def test_a_failure_shows_its_cause_on_the_job_page_and_registers_nothing(
    stack: Stack, browser: httpx.Client, tuned: Any
) -> None:
    made = tuned("broken", seconds=0, fail_with=CAUSE)
    job = made["job"]["id"]
    failed = stack.job_in(job, "failed")
    assert (failed["reason"], failed["cause"]) == ("engine_exited", CAUSE)
    page = browser.get(f"/jobs/{job}")
    assert page.status_code == 200
    assert CAUSE in html.unescape(page.text)
    assert "The engine stopped with an error" in page.text
    stack.post(f"jobs/{job}/retry", {})
    assert len(stack.job_in(job, "failed")["attempts"]) == 2
    assert stack.get(f"fine-tunes/{made['id']}")["output"] is None
    assert stack.get("models", q="broken")["items"] == []


def test_a_killed_worker_finds_its_engine_again(stack: Stack, tuned: Any) -> None:
    job = tuned("orphan", seconds=12)["job"]["id"]
    stack.job_in(job, "running")
    wait_for(lambda: stack.get(f"jobs/{job}")["attempts"][0]["ran"], 10, lambda: "the worker never said what ran")
    before = stack.get(f"jobs/{job}")["attempts"][0]
    agent = stack.services()["pids"]["worker"]
    psutil.Process(agent).send_signal(signal.SIGKILL)
    wait_for(lambda: stack.services()["pids"].get("worker", agent) != agent, 30, stack.printed)
    assert is_alive(before["ran"]["pid"]), "kill -9 of the worker took its engine along"
    (after,) = stack.job_in(job, "succeeded")["attempts"]
    assert (after["uuid"], after["ran"]["pid"]) == (before["uuid"], before["ran"]["pid"])
    assert [series["steps"] for series in stack.get(f"jobs/{job}/metrics") if series["name"] == "loss"] == [
        list(range(1, 11))
    ]


def test_without_redis_a_job_still_runs(stack: Stack, broker: Broker, tuned: Any) -> None:
    broker.stop()
    try:
        job = tuned("unheard", seconds=1)["job"]["id"]
        stack.job_in(job, "succeeded")
    finally:
        broker.start()
    # The control worker finds the broker again: what only the beat does is done.
    job = tuned("heard", seconds=0)["job"]["id"]
    stack.job_in(job, "succeeded")
