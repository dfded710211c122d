"""The leaderboard's pages and REST."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from apps.accounts.models import User
from apps.catalog.models import ModelVersion
from tests.factories import (
    api_headers,
    make_adapter,
    make_eval_run,
    make_model_version,
    make_stored_version,
    make_suite,
    make_team,
    make_user,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def alice(client: Client) -> User:
    user = make_user("alice", team=make_team("Red"))
    client.force_login(user)
    return user


@pytest.fixture
def versions(alice: User) -> tuple[ModelVersion, ModelVersion]:
    """(base, fine-tune), the fine-tune better on 7 items of 8 and worse on none."""
    team = alice.teams.get()
    base = make_stored_version(team, name="base", note="from Q4_1 weights")
    tuned = make_adapter(base, name="tuned")
    suite = make_suite("tour")
    make_eval_run(base, suite, {"colours": "00000001"})
    make_eval_run(tuned, suite, {"colours": "11111111"})
    return base, tuned


def get(client: Client, user: User, path: str) -> Any:
    return client.get(f"/api/v1{path}", headers=api_headers(user))


def test_the_page_leads_with_the_verdict_and_keeps_the_note(
    versions: tuple[ModelVersion, ModelVersion], client: Client
) -> None:
    page = client.get("/leaderboard?suite=tour").content.decode()
    assert "tuned leads tour by 87.5 points" in page
    assert "from Q4_1 weights" in page
    assert page.index(">tuned</a>") < page.index(">base</a>")


def test_the_compare_page_shows_each_task_with_its_counts(
    versions: tuple[ModelVersion, ModelVersion], client: Client
) -> None:
    base, tuned = versions
    page = client.get(f"/leaderboard/compare?a={base.public_id}&b={tuned.public_id}").content.decode()
    assert "tuned beats base by 87.5 points on tour" in page
    assert "7 won, 0 lost of 8" in page
    assert "p = 0.016" in page


def test_the_compare_page_refuses_scores_taken_otherwise(alice: User, client: Client) -> None:
    team, suite = alice.teams.get(), make_suite()
    a, b = make_model_version(team, "a"), make_model_version(team, "b")
    make_eval_run(a, suite, {"colours": "1111"})
    make_eval_run(b, suite, {"colours": "1111"}, num_fewshot=5)
    page = client.get(f"/leaderboard/compare?a={a.public_id}&b={b.public_id}").content.decode()
    assert "b and a were not measured alike on quiz" in page
    assert "other few-shot examples (5 here, 0 there)" in page
    answer = get(client, alice, f"/leaderboard/compare?a={a.public_id}&b={b.public_id}")
    assert answer.status_code == 409
    assert [each["field"] for each in answer.json()["differs"]] == ["num_fewshot"]


def test_the_api_row_carries_its_source_interval_and_rank(
    versions: tuple[ModelVersion, ModelVersion], alice: User, client: Client
) -> None:
    answer = get(client, alice, "/leaderboard?suite=tour").json()
    first, second = answer["items"]
    assert (first["model"], first["source"], first["rank_low"], first["rank_high"]) == ("tuned", "measured", 1, 1)
    assert (second["note"], second["precision"], second["size_bytes"]) == ("from Q4_1 weights", "bf16", 269_060_552)
    assert second["tasks"]["colours"]["value"] == second["mean"]["value"] == 0.125
    assert 0 < second["mean"]["low"] < 0.125 < second["mean"]["high"] < 1
    assert (second["against_first"]["verdict"], second["against_first"]["behind"]) == ("worse", 7)
    assert (answer["suite_version"], answer["headline"]) == ("1", "tuned leads tour by 87.5 points")


def test_the_api_compares_b_minus_a(versions: tuple[ModelVersion, ModelVersion], alice: User, client: Client) -> None:
    base, tuned = versions
    answer = get(client, alice, f"/leaderboard/compare?a={base.public_id}&b={tuned.public_id}&suite=tour").json()
    overall = answer["overall"]
    assert (overall["verdict"], overall["difference"], overall["n"], overall["ahead"]) == ("better", 0.875, 8, 7)
    assert overall["p_value"] == 2 / 2**7
    assert answer["tasks"][0]["result"]["method"] == "mcnemar"
    assert (answer["a"]["model"], answer["b"]["mean"]["value"]) == ("base", 1.0)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("/leaderboard?suite=tuor", "suite"),
        ("/leaderboard?suite=tour@9", "suite"),
        ("/leaderboard/compare?a=mv-0&b={tuned}", "a"),
        ("/leaderboard/compare?a={base}&b=job-1", "b"),
        ("/leaderboard/compare?a={base}&b={base}", "b"),
        ("/leaderboard/compare?a={base}&b={tuned}&suite=empty", "suite"),
        ("/leaderboard/compare?a={base}", "b"),
    ],
)
def test_wrong_queries_name_their_field(
    versions: tuple[ModelVersion, ModelVersion], alice: User, client: Client, query: str, field: str
) -> None:
    make_suite("empty")
    base, tuned = versions
    answer = get(client, alice, query.format(base=base.public_id, tuned=tuned.public_id))
    assert answer.status_code == 422, answer.json()
    assert answer.json()["errors"][0]["field"].endswith(field)


def test_another_teams_scores_are_not_there(versions: tuple[ModelVersion, ModelVersion], client: Client) -> None:
    carol = make_user("carol", team=make_team("Blue"))
    assert get(client, carol, "/leaderboard?suite=tour").json()["items"] == []
    base, tuned = versions
    answer = get(client, carol, f"/leaderboard/compare?a={base.public_id}&b={tuned.public_id}")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "a")
    client.force_login(carol)
    assert ">base</a>" not in client.get("/leaderboard").content.decode()


def test_before_anything_is_measured(alice: User, client: Client) -> None:
    assert "Nothing is measured yet" in client.get("/leaderboard").content.decode()
    assert "Nothing to compare yet" in client.get("/leaderboard/compare").content.decode()
    assert get(client, alice, "/leaderboard").json()["items"] == []
    assert client.get("/leaderboard?suite=unknown").status_code == 404


def test_reported_scores_stand_apart_with_setting_and_source(
    versions: tuple[ModelVersion, ModelVersion], alice: User, client: Client
) -> None:
    page = client.get("/leaderboard/reported?benchmark=GPQA").content.decode()
    assert "tag reported" in page
    assert "not stated" in page
    assert "tag measured" not in page
    assert "closed</span>" in page
    assert client.get("/leaderboard/reported?benchmark=Riddles").status_code == 404
    assert "No model of that name" in client.get("/leaderboard/reported?q=nosuch").content.decode()

    answer = client.get("/api/v1/leaderboard/reported?benchmark=MMLU-Pro&q=qwen3", headers=api_headers(alice)).json()
    assert answer["items"]
    for item in answer["items"]:
        assert (item["source"], item["benchmark"]) == ("reported", "MMLU-Pro")
        assert "qwen3" in item["model"].lower()
        assert item["read_in"]
    scores = [item["score"] for item in answer["items"]]
    assert scores == sorted(scores, reverse=True)
    refused = client.get("/api/v1/leaderboard/reported?benchmark=Riddles", headers=api_headers(alice))
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "benchmark"
