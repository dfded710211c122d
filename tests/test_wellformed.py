"""What no row of the database can hold is refused by name; nothing a client sends ends as a failure of ours."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client, RequestFactory
from django.urls import reverse

from apps.accounts.models import User
from stackweb.errors import server_error
from stackweb.wellformed import MendingParser
from tests.factories import api_headers, make_endpoint, make_team, make_user

ROW = b'{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}\n'


@pytest.fixture
def alice(db: None) -> User:
    return make_user("alice", team=make_team("Red"))


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (r'{"name": "a\u0000b"}', "name"),
        (r'{"name": "\ud800"}', "name"),
        (r'{"name": "x", "requests_per_minute": NaN}', "body"),
        (r'{"name": "x", "requests_per_minute": 1e999}', "requests_per_minute"),
        ('{"name": ' + "[" * 60 + "]" * 60 + "}", "name"),
        ('{"name": ' + "[" * 100_000, "body"),
        ("9" * 5000, "body"),
        ("{", "body"),
        ('{"name": "x", "no_such_field": 1}', "no_such_field"),
    ],
)
def test_a_body_that_cannot_be_kept_is_refused_by_field(client: Client, alice: User, body: str, field: str) -> None:
    answer = client.post("/api/v1/virtual-keys", body, "application/json", headers=api_headers(alice))
    assert (answer.status_code, answer["content-type"]) == (422, "application/problem+json")
    assert answer.json()["errors"][0]["field"] == field


@pytest.mark.parametrize("path", ["/api/v1/models?q=%00", "/search?q=%00", "/models?q=a%00", "/login?next=%00"])
def test_a_query_with_nul_is_refused(client: Client, alice: User, path: str) -> None:
    client.force_login(alice)
    assert client.get(path).status_code == 422


def test_an_unknown_host_name_is_refused_with_the_setting_that_allows_it(client: Client) -> None:
    answer = client.get("/api/v1/jobs", headers={"host": "stackweb.example"})
    assert (answer.status_code, answer.json()["title"]) == (400, "Unknown host name")
    assert "STACKWEB_ALLOWED_HOSTS" in answer.json()["detail"]


def test_a_form_field_with_nul_is_refused(client: Client, alice: User) -> None:
    answer = client.post("/login", {"username": "a\x00", "password": "x"})
    assert (answer.status_code, b"U+0000" in answer.content) == (422, True)


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("models/import", {"source": "path", "source_ref": "/x"}),
        ("tokens", {"name": "x"}),
        ("users", {"username": "x"}),
        ("teams", {"name": "x"}),
    ],
)
def test_an_unknown_field_is_named(client: Client, path: str, fields: dict[str, str], db: None) -> None:
    headers = api_headers(make_user("root", team=make_team("Red"), is_superuser=True))
    answer = client.post(f"/api/v1/{path}", fields | {"nmae": "x"}, "application/json", headers=headers)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "nmae")


def test_unreadable_parts_are_a_problem_document(client: Client, alice: User) -> None:
    answer = client.post("/api/v1/datasets", b"x", "multipart/form-data", headers=api_headers(alice))
    assert (answer.status_code, answer["content-type"]) == (400, "application/problem+json")


def test_a_form_where_json_is_read_is_told_so(client: Client, alice: User) -> None:
    answer = client.post("/api/v1/virtual-keys", {"name": "x"}, headers=api_headers(alice))
    assert answer.status_code == 415
    assert answer.json()["detail"] == "Send application/json here, not multipart/form-data."


def test_a_chat_sent_as_a_form_is_refused(alice: User) -> None:
    endpoint = make_endpoint(alice.memberships.get().team)
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(alice)
    strict.get("/settings/tokens")
    sent = {"messages": "Hi", "csrfmiddlewaretoken": strict.cookies["stackweb_csrf"].value}
    answer = strict.post(f"/endpoints/{endpoint.public_id}/chat", sent)  # multipart
    assert answer.status_code == 400


def test_a_body_over_the_limit_says_so(client: Client, alice: User, settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100
    answer = client.post("/api/v1/tokens", b" " * 200, "application/json", headers=api_headers(alice))
    assert (answer.status_code, answer.json()["title"]) == (413, "Too large")


def test_an_upload_with_an_idempotency_key_is_made_once(
    client: Client, alice: User, settings: Any, tmp_path: Any
) -> None:
    settings.BLOB_DIR = tmp_path
    headers = api_headers(alice) | {"Idempotency-Key": "k"}

    def send(name: str, data: bytes) -> Any:
        sent = {"name": name, "file": SimpleUploadedFile("rows.jsonl", data)}
        return client.post("/api/v1/datasets", sent, headers=headers)

    first, again, other = send("a", ROW), send("a", ROW), send("a", ROW * 2)
    assert [each.status_code for each in (first, again, other)] == [201, 201, 409]
    assert first.json() == again.json()


def test_another_method_says_which_are_taken(client: Client, alice: User) -> None:
    answer = client.put("/api/v1/models", "{}", "application/json", headers=api_headers(alice))
    assert (answer.status_code, answer.json()["detail"]) == (405, "This address takes GET or POST, not PUT.")


def test_a_form_without_its_token_says_what_to_do(alice: User) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(alice)
    answer = strict.post(reverse("token_create"), {"name": "x"})
    assert (answer.status_code, b"Reload its page" in answer.content) == (403, True)


def test_a_failure_of_ours_is_a_problem_document_for_programs(rf: RequestFactory) -> None:
    answer = server_error(rf.get("/api/v1/models"))
    assert (answer.status_code, json.loads(answer.content)["status"]) == (500, 500)


def test_what_an_engine_printed_is_mended(rf: RequestFactory) -> None:
    sent = rf.post("/x", r'{"cause": "a\u0000b", "rows": ["\udc80"]}', content_type="application/json")
    assert MendingParser().parse_body(sent) == {"cause": "a\ufffdb", "rows": ["\ufffd"]}
