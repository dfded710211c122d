"""Result files over REST, and what an attempt says of its devices and its lease."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from apps.accounts.models import Team, User
from apps.jobs.blobs import blob_path
from apps.jobs.models import Attempt
from apps.jobs.outputs import media_type
from tests.factories import api_headers, make_attempt, make_host, make_job, make_team, make_user
from tests.jobs.conftest import Worker, start


def get(client: Client, user: User, path: str) -> Any:
    return client.get(f"/api/v1/jobs/{path}", headers=api_headers(user))


def upload(worker: Worker, attempt: Attempt, name: str, data: bytes) -> None:
    lease = f"epoch={attempt.epoch}&lease_token={attempt.lease_token}"
    assert worker.call("POST", f"attempts/{attempt.uuid}/outputs?name={name}&{lease}", data).status_code == 200


def test_result_files_are_listed_and_fetched(team: Team, alice: User, worker: Worker, client: Client) -> None:
    job, attempt = start(team, alice, worker)
    assert get(client, alice, f"{job.public_id}/outputs").json() == {"items": [], "next": None}
    upload(worker, attempt, "deep/results.json", b"{}\n")
    upload(worker, attempt, "samples.jsonl", b'{"a": 1}\n')
    first = get(client, alice, f"{job.public_id}/outputs?limit=1").json()
    (newest,), rest = first["items"], get(client, alice, f"{job.public_id}/outputs?cursor={first['next']}").json()
    (oldest,) = rest["items"]
    assert (newest["name"], newest["media_type"], newest["size_bytes"]) == ("samples.jsonl", "application/jsonl", 9)
    assert (oldest["sha256"], oldest["epoch"]) == (hashlib.sha256(b"{}\n").hexdigest(), 1)
    assert (oldest["media_type"], oldest["is_stored"]) == ("application/json", True)
    answer = get(client, alice, f"{job.public_id}/outputs/{oldest['id']}")
    assert (answer.getvalue(), answer["Content-Disposition"]) == (b"{}\n", 'attachment; filename="results.json"')
    assert answer["Content-Type"] == "application/octet-stream", "what a run wrote is never opened in place"


def test_a_file_that_is_not_there_says_so(team: Team, alice: User, worker: Worker, client: Client) -> None:
    job, attempt = start(team, alice, worker)
    upload(worker, attempt, "results.json", b"{}\n")
    output = attempt.outputs.get()
    for wrong in ("987654", "x", "9" * 40):
        missing = get(client, alice, f"{job.public_id}/outputs/{wrong}")
        assert (missing.status_code, missing["Content-Type"]) == (404, "application/problem+json"), wrong
    assert get(client, alice, f"{make_job(team).public_id}/outputs/{output.pk}").status_code == 404, "of another job"
    carol = make_user("carol", team=make_team())
    assert get(client, carol, f"{job.public_id}/outputs/{output.pk}").status_code == 404
    blob_path(output.sha256).unlink()
    assert get(client, alice, f"{job.public_id}/outputs").json()["items"][0]["is_stored"] is False
    gone = get(client, alice, f"{job.public_id}/outputs/{output.pk}")
    assert (gone.status_code, "not on this server any more" in gone.json()["detail"]) == (404, True)


def test_an_attempt_says_where_it_runs_and_whether_it_is_known_to(team: Team, alice: User, client: Client) -> None:
    job = make_job(team, status="running", started_at=timezone.now())
    until = timezone.now() - timedelta(minutes=5)
    make_attempt(job, make_host(gpus=4), device_indexes=[1, 3], claimed_at=until, lease_expires_at=until)
    (attempt,) = get(client, alice, job.public_id).json()["attempts"]
    assert (attempt["devices"], attempt["is_unknown"]) == ([1, 3], True)
    assert attempt["lease_expires_at"][:19] == until.isoformat()[:19]


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.json", "application/json"), ("a.csv", "text/csv"), ("adapter.safetensors", "application/octet-stream")],
)
def test_a_media_type_is_told_by_the_name(name: str, kind: str) -> None:
    assert media_type(name) == kind
