"""Finding models on a Hub by name: what the official client would find, within the time of a page."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client
from huggingface_hub import HfApi, constants

from apps.accounts.hub_tokens import HubCredential, save_hub_token
from apps.accounts.models import User
from apps.accounts.problems import Problem
from apps.catalog.hub_search import search_hub
from apps.catalog.models import Model, ModelImport
from tests.catalog.hub_server import Hub, tiny_repo
from tests.factories import api_headers, make_stored_version

NAMES = ("tiny/model", "acme/TINY-chat", "acme/tiny-private", "acme/other")


@pytest.fixture
def full(hub: Hub) -> Hub:
    hub.repos["tiny/model"] = tiny_repo(downloads=10, likes=3)
    hub.repos["acme/TINY-chat"] = tiny_repo(downloads=5000, license="mit", gated=True)
    hub.repos["acme/tiny-private"] = tiny_repo(downloads=1, private=True)
    hub.repos["acme/other"] = tiny_repo(downloads=99999)
    return hub


def names(text: str, **options: Any) -> list[str]:
    return [each.repo for each in search_hub(text, **options)]


def test_a_search_finds_what_the_official_client_finds(full: Hub) -> None:
    full.page_of = 1  # the client follows the list from page to page
    clients = [each.id for each in HfApi(endpoint=full.url, token=False).list_models(search="tiny", sort="downloads")]
    full.page_of = 1000
    assert names("tiny") == clients == ["acme/TINY-chat", "tiny/model"]


def test_each_find_says_what_a_person_chooses_by(full: Hub) -> None:
    chat, model = search_hub(" Tiny ")
    assert (chat.license, chat.is_gated, chat.downloads) == ("mit", True, 5000)
    assert (model.license, model.is_gated, model.likes, model.task) == ("apache-2.0", False, 3, "text-generation")
    assert model.modified_at == datetime(2026, 5, 1, 10, tzinfo=UTC)
    assert names("tiny", limit=1) == ["acme/TINY-chat"]
    assert search_hub("  ") == []
    assert names("nothing of the kind") == []


def test_a_token_shows_its_own_private_models_and_a_refused_one_hides_nothing(full: Hub) -> None:
    own = HubCredential("user", "the token of alice", "hf_let_in")
    assert "acme/tiny-private" in names("tiny", credentials=[own])
    full.refused_tokens.add("hf_old")
    old = HubCredential("user", "the token of alice", "hf_old")
    assert names("tiny", credentials=[old]) == ["acme/TINY-chat", "tiny/model"]


def test_malformed_rows_cost_no_other(full: Hub) -> None:
    full.odd_rows = [5, {}, {"id": 5}, {"id": "gpt2"}, {"id": "a/b", "lastModified": "now"}, {"id": "../../etc"}]
    full.odd_rows += [{"id": "odd/row", "downloads": "many", "likes": -1, "tags": "license:mit", "gated": None}]
    odd, *rest = search_hub("tiny")
    assert (odd.repo, odd.downloads, odd.likes, odd.license, odd.modified_at) == ("odd/row", None, None, "", None)
    assert [each.repo for each in rest] == ["acme/TINY-chat", "tiny/model"]


@pytest.mark.parametrize("row", [{"id": "a/" + "b" * 500_000}, json.loads("[" * 900 + "]" * 900)])
def test_an_answer_without_end_is_refused(full: Hub, row: Any) -> None:
    full.odd_rows = [row] * 2
    if isinstance(row, dict):
        with pytest.raises(Problem, match="cannot be read"):
            search_hub("tiny")
    else:
        assert names("tiny") == ["acme/TINY-chat", "tiny/model"]


def test_a_hub_that_is_away_is_said_so_at_once(full: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(Problem, match="HF_HUB_OFFLINE is set") as caught:
        search_hub("tiny")
    assert caught.value.status == 503
    monkeypatch.undo()
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(Problem, match="cannot be reached"):
        search_hub("tiny")


@pytest.mark.parametrize(("text", "limit", "field"), [("x" * 101, 5, "q"), ("x", 0, "limit"), ("x", 51, "limit")])
def test_a_search_out_of_bounds_names_the_field(text: str, limit: int, field: str) -> None:
    with pytest.raises(Problem) as caught:
        search_hub(text, limit=limit)
    assert caught.value.errors[0].field == field


@pytest.mark.django_db
def test_the_page_finds_and_adds_with_one_click(full: Hub, alice: User, client: Client) -> None:
    client.force_login(alice)
    assert "Search the Hub by name" in client.get("/models/import").text
    assert full.requests == []  # nothing is asked before a person asks
    whole = client.get("/models/import?q=tiny").text
    part = client.get("/models/import?q=tiny", headers={"HX-Request": "true"}).text
    for page in (whole, part):
        assert 'name="source_ref" value="tiny/model"' in page
        assert "5,000" in page
        assert "gated" in page
    assert "<html" not in part
    answer = client.post("/models/import", {"source": "hub", "source_ref": "tiny/model"})
    assert answer.status_code == 302
    assert ModelImport.objects.get().source_ref == "tiny/model"
    assert "no model whose name holds “&lt;b&gt;”" in client.get("/models/import?q=<b>").text
    full.rate_limited = True
    assert "asks to slow down" in client.get("/models/import?q=tiny").text


@pytest.mark.django_db
def test_what_is_here_already_is_linked(full: Hub, alice: User, client: Client) -> None:
    client.force_login(alice)
    version = make_stored_version(alice.memberships.get().team, name="mine")
    Model.objects.filter(pk=version.model.pk).update(source="hub", source_ref="tiny/model")
    page = client.get("/models/import?q=tiny").text
    assert f'href="/models/{version.model.public_id}">here already</a>' in page


@pytest.mark.django_db
def test_rest_searches_with_the_persons_token(full: Hub, alice: User, client: Client) -> None:
    save_hub_token(actor=alice, token="hf_let_in")
    answer = client.get("/api/v1/models/hub-search?q=tiny&limit=2", headers=api_headers(alice)).json()
    assert [each["source_ref"] for each in answer["items"]] == ["acme/TINY-chat", "tiny/model"]
    assert answer["items"][0] | {"license_class": "permissive", "is_gated": True, "model": None} == answer["items"][0]
    assert "acme/tiny-private" in client.get("/api/v1/models/hub-search?q=private", headers=api_headers(alice)).text
    wrong = client.get("/api/v1/models/hub-search?q=tiny&limit=99", headers=api_headers(alice))
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "limit")
    full.rate_limited = True
    assert client.get("/api/v1/models/hub-search?q=tiny", headers=api_headers(alice)).status_code == 503
