"""Another team's object does not exist: every address that names one answers a stranger 404."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from django.test import Client

from apps.accounts.models import Role, Team
from apps.arena.models import Battle
from apps.evals.models import EvalRun, Suite
from apps.finetunes.models import Dataset, FineTune
from apps.gateway.models import VirtualKey
from apps.jobs.models import Schedule
from apps.tour.models import TourRun
from stackweb.permissions import MATRIX, Access
from tests.factories import api_headers, make_endpoint, make_job, make_model_version, make_team, make_user

pytestmark = pytest.mark.django_db


def _dataset(team: Team) -> Dataset:
    return Dataset.objects.create(team=team, name="rows", sha256="0" * 64, size_bytes=1, row_count=1)


def _fine_tune(team: Team) -> str:
    return FineTune.objects.create(
        team=team,
        name="tune",
        base=make_model_version(team),
        dataset=_dataset(team),
        engine="fake",
        job=make_job(team, kind="train"),
    ).public_id


def _eval_run(team: Team) -> str:
    suite, _ = Suite.objects.get_or_create(name="s", version="1", defaults={"title": "S", "tasks": []})
    return EvalRun.objects.create(
        team=team, version=make_model_version(team), suite=suite, engine="fake", job=make_job(team)
    ).public_id


def _battle(team: Team) -> str:
    left, right = make_endpoint(team), make_endpoint(team)
    return Battle.objects.create(team=team, prompt="Hi", left=left, right=right).public_id


STEP = {"key": "import", "title": "Import", "status": "waiting", "facts": {}, "started_at": None, "finished_at": None}
# What an address calls its object -> makes one in the team, returns its id. An argument that is not
# here belongs to a person (tests/accounts), to a host (tests/jobs), to a team that its members and admins name
# (tests/jobs/test_waiting.py), or names a host: hosts are everybody's
# (tests/dashboard/test_hosts.py).
OBJECTS: dict[str, Callable[[Team], str]] = {
    "model_id": lambda team: make_model_version(team).model.public_id,
    "version_id": lambda team: make_model_version(team).public_id,
    "endpoint_id": lambda team: make_endpoint(team, status="running").public_id,
    "job_id": lambda team: make_job(team).public_id,
    "schedule_id": lambda team: (
        Schedule.objects.create(team=team, name="s", cron="0 3 * * *", job=make_job(team)).public_id
    ),
    "dataset_id": lambda team: _dataset(team).public_id,
    "fine_tune_id": _fine_tune,
    "run_id": _eval_run,
    "battle_id": _battle,
    "tour_id": lambda team: TourRun.objects.create(team=team, steps=[STEP]).public_id,
    "key_id": lambda team: VirtualKey.objects.create(team=team, name="k", hint="k", digest="d").public_id,
}
ELSEWHERE = {"token", "user_id", "token_id", "uuid", "sha256", "host_name", "team_slug"}
PARTS = ("sample_id", "output_id")  # of an object that stands before them in the address
ROWS = sorted(row for row in MATRIX if "<" in row and not re.search(rf"<(\w+:)?({'|'.join(ELSEWHERE)})>", row))


def _named(row: str) -> str:
    names = re.findall(r"<(?:\w+:)?(\w+)>", row)
    return next(name for name in names if name not in PARTS)


def test_every_argument_of_an_address_is_walked() -> None:
    assert {_named(row) for row in ROWS} == set(OBJECTS)


@pytest.mark.parametrize("row", ROWS)
def test_a_stranger_finds_nothing(row: str, redis_url: str) -> None:
    red, blue = make_team("Red"), make_team("Blue")
    alice, carol = make_user("alice", team=red), make_user("carol", team=blue)
    bob = make_user("bob", team=red, role=Role.VIEWER)
    method, route = row.split(" ")
    public_id = OBJECTS[_named(row)](red)
    path = re.sub(rf"<[^>]*({'|'.join(PARTS)})>", "1", route)
    path = re.sub(r"<[^>]+>", public_id, path)

    def ask(user: object, at: str = path) -> int:
        client = Client()
        if at.startswith("/api/"):
            headers = api_headers(user)  # type: ignore[arg-type]
            return client.generic(method, at, json.dumps({}), "application/json", headers=headers).status_code
        client.force_login(user)  # type: ignore[arg-type]
        return client.generic(method, at, "", "application/x-www-form-urlencoded").status_code

    assert ask(carol) in (404, 422), "a stranger got at it"
    assert ask(carol) == ask(carol, path.replace(public_id, public_id.rpartition("-")[0] + "-987654")), (
        "a stranger can tell it from one that never was"
    )
    if method == "GET" and not any(part in route for part in PARTS):
        assert ask(alice) == 200
    if MATRIX[row] is Access.MEMBER:
        assert ask(bob) == 403
