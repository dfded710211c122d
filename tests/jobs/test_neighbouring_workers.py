"""R21: this server and a worker one version older or newer. What it does not say has its default, what it says
beside is ignored, and its job runs to the end in one attempt."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from apps.accounts.models import Team, User
from apps.jobs.models import Job
from apps.jobs.scheduling import place_waiting_jobs
from tests.jobs.conftest import Worker, submit

UNKNOWN = {"from_the_future": {"a": [1]}}


def speak(worker: Worker, method: str, path: str, body: Any, more: dict[str, Any]) -> Any:
    answer = worker.call(method, path, body if isinstance(body, bytes) else body | more)
    assert answer.status_code == 200, (path, answer.content)
    return answer.json()


def run_a_job(worker: Worker, job: Job, more: dict[str, Any]) -> None:
    """With what the first workers of this protocol said, and `more` in every body."""
    place_waiting_jobs()
    attempt = job.attempts.get()
    (listed,) = speak(worker, "GET", "assignments", {}, {})["attempts"]
    assert listed["uuid"] == str(attempt.uuid)
    claim = speak(worker, "POST", f"attempts/{attempt.uuid}/claim", {"epoch": attempt.epoch}, more)
    lease = {"epoch": attempt.epoch, "lease_token": claim["lease_token"]}
    query = f"epoch={attempt.epoch}&lease_token={claim['lease_token']}"
    path = f"attempts/{attempt.uuid}"
    speak(worker, "POST", f"{path}/started?{query}", {"argv": ["python"], "pid": 7}, more)
    point = {"name": "loss", "step": 1, "value": 2.0, "at": timezone.now().isoformat()}
    for _ in range(2):  # the worker, or the server, was restarted in between
        beat = {"uuid": str(attempt.uuid), "phase": "running"} | lease
        answers = speak(worker, "POST", "heartbeat", {"attempts": [beat | more]}, more)["attempts"]
        assert [(each["uuid"], each["answer"]) for each in answers] == [(str(attempt.uuid), "run")]
        speak(worker, "POST", f"{path}/logs?offset=0&{query}", b"line\n", more)
        speak(worker, "POST", f"{path}/metrics?{query}", {"points": [point | more]}, more)
        again = speak(worker, "POST", f"{path}/claim", {"epoch": attempt.epoch}, more)
        assert again["lease_token"] == claim["lease_token"]
    end = lease | {"exit_code": 0, "reason": None, "cause": "", "result": {"ok": True}}
    speak(worker, "POST", f"{path}/finish", end, more)


@pytest.mark.parametrize("more", [{}, UNKNOWN], ids=["older", "newer"])
def test_r21_a_neighbouring_worker_runs_a_job_to_its_end(
    team: Team, alice: User, worker: Worker, more: dict[str, Any]
) -> None:
    inventory = {"hostname": "atlas", "cpu": {"cores": 4}, "ram_bytes": 16 * 2**30, "disk": {}}
    speak(worker, "POST", "inventory", inventory, more)
    speak(worker, "POST", "telemetry", {"at": timezone.now().isoformat(), "cpu_percent": 5, "ram_used_bytes": 1}, more)
    job = submit(team, alice)
    run_a_job(worker, job, more)
    job.refresh_from_db()
    attempt = job.attempts.get()
    assert (job.status, attempt.exit_code, attempt.reason, attempt.log_size_bytes) == ("succeeded", 0, "", 5)
    assert [point.value for point in attempt.metric_points.all()] == [2.0]


def test_r21_a_worker_of_another_protocol_is_told_which(worker: Worker) -> None:
    answer = worker.call("POST", "heartbeat", {"attempts": []}, **{"Stackweb-Protocol": "2"})
    assert answer.status_code == 400
    assert "speaks Stackweb-Protocol 1, the worker “2”" in answer.json()["detail"]
