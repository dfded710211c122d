"""REST: suites, eval runs, scores, samples."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from apps.accounts.models import Role, Team, User
from apps.evals.models import EvalRun, Suite
from tests.factories import (
    api_headers,
    make_eval_run,
    make_host,
    make_model_version,
    make_stored_version,
    make_suite,
    make_team,
    make_user,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def alice(team: Team) -> User:
    return make_user("alice", team=team)


def post(client: Client, user: User, body: dict[str, Any], **headers: str) -> Any:
    return client.post("/api/v1/eval-runs", body, "application/json", headers=api_headers(user) | headers)


def test_suites_are_listed_with_their_tasks(alice: User, suite: Suite, client: Client) -> None:
    items = client.get("/api/v1/eval-suites", headers=api_headers(alice)).json()["items"]
    tour = next(item for item in items if item["name"] == "tour")
    assert (tour["version"], tour["options"]) == ("1", {"apply_chat_template": True})
    assert tour["tasks"][1] == {
        "name": "tour_answer",
        "title": "Tour answer",
        "metric": "exact_match",
        "filter": "bare",
        "num_fewshot": 0,
        "item_count": 50,
    }


def test_a_run_is_created_once_and_answers_with_its_job(team: Team, alice: User, suite: Suite, client: Client) -> None:
    make_host()
    version = make_stored_version(team)
    body = {"version": version.public_id, "suite": "tour", "tasks": ["tour_choice"], "limit": 3}
    made = post(client, alice, body, **{"Idempotency-Key": "one"})
    assert made.status_code == 201, made.json()
    again = post(client, alice, body, **{"Idempotency-Key": "one"})
    assert again.json()["id"] == made.json()["id"]
    run = EvalRun.objects.get()
    assert made.json()["job"]["id"] == run.job.public_id
    assert (made.json()["tasks"], run.job.spec["payload"]["limit"]) == (["tour_choice"], 3)
    listed = client.get(f"/api/v1/eval-runs?suite=tour&version={version.public_id}", headers=api_headers(alice)).json()
    assert [item["id"] for item in listed["items"]] == [run.public_id]


@pytest.mark.parametrize(
    ("change", "field", "nearest"),
    [
        ({"suite": "tuor"}, "suite", "tour"),
        ({"version": "mv-999999"}, "version", None),
        ({"version": "nonsense"}, "version", None),
        ({"tasks": ["tour_chioce"]}, "tasks", "tour_choice"),
        ({"options": {"seeds": 1}}, "options.seeds", "seed"),
        ({"engine": "lmeval"}, "engine", "lm-eval"),
        ({"limit": -1}, "limit", None),
        ({"team": "blue"}, "team", None),
    ],
)
def test_wrong_input_is_422_naming_field_value_and_nearest(
    team: Team, alice: User, suite: Suite, client: Client, change: dict[str, Any], field: str, nearest: str | None
) -> None:
    body = {"version": make_stored_version(team).public_id, "suite": "tour"} | change
    answer = post(client, alice, body)
    assert answer.status_code == 422
    error = answer.json()["errors"][0]
    assert error["field"] == field
    assert nearest is None or error["nearest"] == nearest
    assert not EvalRun.objects.exists()


def test_scores_come_with_interval_and_identity(team: Team, alice: User, client: Client) -> None:
    run = make_eval_run(make_model_version(team), make_suite(), {"colours": "1101"})
    answer = client.get(f"/api/v1/eval-runs/{run.public_id}", headers=api_headers(alice)).json()
    (score,) = answer["scores"]
    assert (score["value"], score["n"], score["is_headline"]) == (0.75, 4, True)
    assert (score["low"], score["high"]) == pytest.approx((0.3006, 0.9544), abs=1e-4)  # Wilson, 3 of 4
    assert (score["precision"], score["engine_version"], score["suite_version"]) == ("fp32", "0.4.13", "quiz 1")


def test_samples_come_in_pages(team: Team, alice: User, client: Client) -> None:
    run = make_eval_run(make_model_version(team), make_suite(tasks=("a", "b")), {"a": "110", "b": "1"})
    url, headers = f"/api/v1/eval-runs/{run.public_id}/samples", api_headers(alice)
    first = client.get(f"{url}?limit=3", headers=headers).json()
    rest = client.get(f"{url}?limit=3&cursor={first['next']}", headers=headers).json()
    seen = [(item["task"], item["item"], item["value"]) for item in first["items"] + rest["items"]]
    assert sorted(seen) == [("a", 0, 1.0), ("a", 1, 1.0), ("a", 2, 0.0), ("b", 0, 1.0)]
    assert rest["next"] is None
    assert len(client.get(f"{url}?task=b", headers=headers).json()["items"]) == 1
    assert client.get(f"{url}?task=c", headers=headers).json()["errors"][0]["field"] == "task"


def test_another_teams_run_does_not_exist(team: Team, alice: User, client: Client) -> None:
    foreign = make_team("Blue")
    run = make_eval_run(make_model_version(foreign), make_suite(), {"colours": "1"})
    headers = api_headers(alice)
    for path in ("", "/samples"):
        assert client.get(f"/api/v1/eval-runs/{run.public_id}{path}", headers=headers).status_code == 404
    assert client.get("/api/v1/eval-runs", headers=headers).json()["items"] == []
    body = {"version": run.version.public_id, "suite": "quiz"}
    assert post(client, alice, body).json()["errors"][0]["field"] == "version"
    bob = make_user("bob", team=team, role=Role.VIEWER)
    assert post(client, bob, body).status_code == 403
