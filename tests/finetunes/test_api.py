"""Data sets and fine-tunes over REST."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from apps.accounts.models import User
from apps.catalog.models import ModelVersion
from apps.finetunes.models import Dataset, FineTune
from apps.jobs.models import Job
from tests.factories import api_headers, make_stored_version, make_team, make_user
from tests.finetunes.conftest import lines, row


def upload(client: Client, user: User, data: bytes, name: str = "rows", **fields: str) -> Any:
    sent = {"name": name, "file": SimpleUploadedFile("rows.jsonl", data), **fields}
    return client.post("/api/v1/datasets", sent, headers=api_headers(user))


def test_a_data_set_is_uploaded_listed_and_read(client: Client, alice: User) -> None:
    made = upload(client, alice, lines(row(), row("Bye?")), description="Greetings")
    assert made.status_code == 201, made.content
    body = made.json()
    assert (body["row_count"], body["description"], body["size_bytes"]) == (
        2,
        "Greetings",
        len(lines(row(), row("Bye?"))),
    )
    assert upload(client, alice, lines(row(), row("Bye?"))).json()["id"] == body["id"]
    assert upload(client, alice, lines(row())).status_code == 409
    headers = api_headers(alice)
    assert [each["id"] for each in client.get("/api/v1/datasets", headers=headers).json()["items"]] == [body["id"]]
    detail = client.get(f"/api/v1/datasets/{body['id']}", headers=headers).json()
    assert detail["sample_rows"] == [row(), row("Bye?")]
    carol = api_headers(make_user("carol", team=make_team()))
    assert client.get(f"/api/v1/datasets/{body['id']}", headers=carol).status_code == 404


def test_wrong_rows_and_names_say_where(client: Client, alice: User) -> None:
    wrong = upload(client, alice, lines(row(), {"messages": []}))
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "file line 2")
    named = upload(client, alice, lines(row()), name="My Rows")
    assert (named.status_code, named.json()["errors"][0]["nearest"]) == (422, "my-rows")
    assert not Dataset.objects.exists()


def test_a_fine_tune_is_started_once_listed_and_read(
    client: Client, alice: User, base: ModelVersion, dataset: Dataset
) -> None:
    headers = api_headers(alice) | {"Idempotency-Key": "k1"}
    sent = {"name": "polite", "base": base.public_id, "dataset": "greetings", "options": {"max_steps": 2}}
    made, again = (client.post("/api/v1/fine-tunes", sent, "application/json", headers=headers) for _ in range(2))
    assert made.status_code == 201, made.content
    assert made.json() == again.json()
    assert Job.objects.filter(kind="train").count() == 1
    changed = client.post("/api/v1/fine-tunes", sent | {"name": "b"}, "application/json", headers=headers)
    assert changed.status_code == 409
    body = made.json()
    assert (body["engine"], body["method"], body["output"], body["job"]["status"]) == (
        "axolotl",
        "lora",
        None,
        "queued",
    )
    assert [each["id"] for each in client.get("/api/v1/fine-tunes", headers=headers).json()["items"]] == [body["id"]]
    detail = client.get(f"/api/v1/fine-tunes/{body['id']}", headers=headers).json()
    assert detail["options"]["max_steps"] == 2
    assert {each["quantity"]: each["measured"] for each in detail["estimates"]} == {
        "peak_memory_bytes": None,
        "train_seconds": None,
        "step_seconds": None,
    }


def test_another_teams_data_set_does_not_exist(client: Client, base: ModelVersion, dataset: Dataset) -> None:
    blue = make_team("Blue")
    carol = api_headers(make_user("carol", team=blue))
    own = make_stored_version(blue).public_id
    for base_id, dataset_id, field in ((own, dataset.public_id, "dataset"), (base.public_id, "greetings", "base")):
        sent = {"name": "x", "base": base_id, "dataset": dataset_id}
        answer = client.post("/api/v1/fine-tunes", sent, "application/json", headers=carol)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
    assert not FineTune.objects.exists()


@pytest.mark.parametrize("field", ["name", "base", "dataset"])
def test_unknown_fields_and_missing_ones_are_named(
    client: Client, alice: User, base: ModelVersion, dataset: Dataset, field: str
) -> None:
    sent = {"name": "x", "base": base.public_id, "dataset": "greetings", "argv": "rm"}
    del sent[field]
    answer = client.post("/api/v1/fine-tunes", sent, "application/json", headers=api_headers(alice))
    assert answer.status_code == 422
    assert {error["field"] for error in answer.json()["errors"]} == {field, "argv"}
