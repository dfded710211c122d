"""Endpoints over REST: shapes, repeats, other teams."""

from __future__ import annotations

import pytest
from django.test import Client

from apps.serving.models import Endpoint
from tests.factories import api_headers, make_host, make_stored_version, make_team, make_user

pytestmark = pytest.mark.django_db
URL = "/api/v1/endpoints"


def test_create_get_stop_start(client: Client) -> None:
    team = make_team("Lab")
    headers = api_headers(make_user("alice", team=team))
    version = make_stored_version(team, host=make_host())
    made = client.post(URL, {"version": version.public_id, "name": "chat"}, "application/json", headers=headers)
    assert made.status_code == 201
    body = made.json()
    assert (body["name"], body["state"], body["engine"], body["team"]) == ("chat", "Queued", "vllm", "lab")
    assert body["job"]["kind"] == "serve"
    one = f"{URL}/{body['id']}"
    assert client.get(one, headers=headers).json()["id"] == body["id"]
    assert [row["id"] for row in client.get(URL, headers=headers).json()["items"]] == [body["id"]]
    assert client.post(f"{one}/stop", headers=headers).json()["state"] == "Stopped"
    assert client.post(f"{one}/stop", headers=headers).status_code == 409
    started = client.post(f"{one}/start", headers=headers).json()
    assert started["state"] == "Queued"
    assert started["job"]["id"] != body["job"]["id"]


def test_a_repeated_create_makes_one_endpoint(client: Client) -> None:
    team = make_team()
    headers = api_headers(make_user(team=team)) | {"Idempotency-Key": "once"}
    version = make_stored_version(team, host=make_host())
    answers = [client.post(URL, {"version": version.public_id}, "application/json", headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()
    assert Endpoint.objects.count() == 1


def test_wrong_fields_are_named(client: Client) -> None:
    team = make_team()
    headers = api_headers(make_user(team=team))
    version = make_stored_version(team, host=make_host())
    for body, field in (
        ({"version": "mv-999"}, "version"),
        ({"version": version.public_id, "engine": "vlm"}, "engine"),
        ({"version": version.public_id, "argv": ["rm"]}, "argv"),
        ({"version": version.public_id, "options": {"env": "x"}}, "options.env"),
    ):
        answer = client.post(URL, body, "application/json", headers=headers)
        assert (answer.status_code, answer["content-type"]) == (422, "application/problem+json")
        assert answer.json()["errors"][0]["field"].endswith(field), answer.json()


def test_another_team_sees_and_serves_nothing(client: Client) -> None:
    team = make_team()
    version = make_stored_version(team, host=make_host())
    headers = api_headers(make_user(team=team))
    made = client.post(URL, {"version": version.public_id}, "application/json", headers=headers).json()
    carol = api_headers(make_user("carol", team=make_team()))
    assert client.get(URL, headers=carol).json()["items"] == []
    assert client.get(f"{URL}/{made['id']}", headers=carol).status_code == 404
    assert client.post(f"{URL}/{made['id']}/stop", headers=carol).status_code == 404
    stolen = client.post(URL, {"version": version.public_id}, "application/json", headers=carol)
    assert stolen.status_code == 422
