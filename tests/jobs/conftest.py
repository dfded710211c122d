"""A team with its people, one host, and a worker that speaks the protocol over Django's test client."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from apps.accounts.models import Team, User
from apps.accounts.tokens import HOST_TOKEN, new_token
from apps.engines.base import RunSpec
from apps.fleet.models import Host, HostToken
from apps.jobs.models import Attempt, Job
from apps.jobs.scheduling import place_waiting_jobs
from apps.jobs.services import submit_job
from apps.jobs.terms import Terms
from tests.factories import make_host, make_team, make_user


@dataclass
class Worker:
    """The host's side of docs/worker-protocol.md."""

    host: Host
    token: str
    client: Client

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        content = body if isinstance(body, bytes) else None
        return self.client.generic(
            method,
            f"/api/worker/v1/{path}",
            data=content if content is not None else json.dumps(body or {}),
            content_type="application/octet-stream" if content is not None else "application/json",
            headers={"Authorization": f"Bearer {self.token}", "Stackweb-Protocol": "1"} | headers,
        )

    def claim(self, attempt: Attempt) -> dict[str, Any]:
        answer = self.call("POST", f"attempts/{attempt.uuid}/claim", {"epoch": attempt.epoch})
        assert answer.status_code == 200, answer.content
        return dict(answer.json())

    def finish(self, attempt: Attempt, **body: Any) -> Any:
        attempt.refresh_from_db()
        lease = {"epoch": attempt.epoch, "lease_token": attempt.lease_token}
        return self.call("POST", f"attempts/{attempt.uuid}/finish", lease | body)


@pytest.fixture
def team(db: None) -> Team:
    return make_team()


@pytest.fixture
def alice(team: Team) -> User:
    return make_user("alice", team=team)


@pytest.fixture
def worker(db: None) -> Worker:
    host = make_host("atlas")
    token = new_token(HOST_TOKEN)
    HostToken.objects.create(host=host, digest=token.digest)
    return Worker(host, token.plain, Client())


@pytest.fixture(autouse=True)
def kept_files(settings: Any, tmp_path: Path) -> None:
    settings.BLOB_DIR, settings.LOG_DIR = tmp_path / "blobs", tmp_path / "logs"


def inventory(boot_id: str) -> dict[str, Any]:
    return {"boot_id": boot_id, "cpu": {"model": "EPYC", "cores": 4}, "ram_bytes": 16 * 1024**3, "disk": {}}


def submit(team: Team, user: User, *, kind: str = "train", **fields: Any) -> Job:
    """A job of the fake engine of that kind; fields of Terms are taken as such."""
    terms = {each.name: fields.pop(each.name) for each in dataclasses.fields(Terms) if each.name in fields}
    engine = {"serve": "fake-serve", "train": "fake-train", "evaluate": "fake-eval"}[kind]
    spec = RunSpec(kind=kind, engine=engine, options=fields.pop("options", {}))
    return submit_job(team=team, user=user, kind=kind, name=f"a {kind} job", spec=spec, terms=Terms(**terms), **fields)


def start(team: Team, user: User, worker: Worker, **fields: Any) -> tuple[Job, Attempt]:
    """A job that the worker has claimed."""
    job = submit(team, user, **fields)
    place_waiting_jobs()
    attempt = job.attempts.get()
    worker.claim(attempt)
    attempt.refresh_from_db()
    job.refresh_from_db()
    return job, attempt
