"""Scores of a card: kept with their setting and source, apart from what is measured, and never an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from apps.catalog.card_scores import MOST_CHARACTERS, MOST_SCORES, card_scores
from apps.catalog.hub import read_hub
from apps.catalog.models import CardScore
from apps.catalog.services import import_model
from tests.catalog.bringing import fetched
from tests.catalog.hub_server import COMMIT, Hub, tiny_repo
from tests.factories import api_headers, make_team, make_user


def result(value: Any, *, name: Any = "MMLU", metric: Any = "acc", **dataset: Any) -> dict[str, Any]:
    return {
        "task": {"type": "text-generation"},
        "dataset": {"name": name, "type": "cais/mmlu", **dataset},
        "metrics": [{"type": metric, "value": value, "name": metric}],
    }


def index(*results: Any) -> list[dict[str, Any]]:
    return [{"name": "tiny", "results": list(results)}]


def test_setting_and_source_come_with_a_score() -> None:
    given = result(68.4, split="test", config="all", args={"num_few_shot": 5})
    given["source"] = {"name": "Open LLM Leaderboard", "url": "https://example.org/board"}
    (found,) = card_scores(index(given))
    assert (found.benchmark, found.metric, found.value) == ("MMLU", "acc", 68.4)
    assert found.setting == "5-shot, test split, all"
    assert (found.reporter, found.reporter_url) == ("Open LLM Leaderboard", "https://example.org/board")


@pytest.mark.parametrize(
    "model_index",
    [
        None, "text", 7, {}, [None, 3, "x"], [{"results": "none"}], [{"results": [None, {"metrics": 1}]}],
        index(result("68.4")), index(result(float("nan"))), index(result(True)), index(result([[1]])),
        index(result(1e300)), index(result(10**400)),
        index({"dataset": {}, "metrics": [{}]}), index(result(1.0, name=["x"], type=None)),
    ],
)  # fmt: skip
def test_what_is_malformed_is_left_out(model_index: Any) -> None:
    assert card_scores(model_index) == []


def test_one_malformed_score_costs_no_other_and_thousands_are_cut_off() -> None:
    sound = [result(float(n), name=f"task{n}") for n in range(300)]
    found = card_scores(index(result("high"), *sound))
    assert len(found) == MOST_SCORES
    assert found[0].benchmark == "task0"
    assert card_scores(index(result(1.0), result(1.0))) == card_scores(index(result(1.0))), "each once"


RESULTS = """
- dataset: {id: cais/hle, task_id: default}
  value: 20.90
- dataset: {id: Idavidrein/gpqa, task_id: gpqa_diamond, revision: 55034340}
  value: 0.412
  date: 2026-01-15
  source: {url: "https://example.org/traces", name: Eval traces, org: cais}
  notes: no-tools
"""


def test_files_of_evaluation_results_follow_the_card() -> None:
    card, hle, gpqa = card_scores(index(result(68.4)), [RESULTS, RESULTS])
    assert card.benchmark == "MMLU"
    assert (hle.benchmark, hle.metric, hle.value, hle.setting) == ("cais/hle", "score", 20.9, "")
    assert (gpqa.benchmark, gpqa.value, gpqa.setting) == ("Idavidrein/gpqa", 0.412, "gpqa_diamond, no-tools")
    assert (gpqa.reporter, gpqa.reporter_url) == ("Eval traces", "https://example.org/traces")
    assert (card.evaluated_on, hle.evaluated_on, gpqa.evaluated_on) == (None, None, "2026-01-15")


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "text", "- 7", "- dataset: cais/hle", "[" * 5000, "- &a [*a]", "- !!python/object/apply:os.getcwd []",
        "- {dataset: {id: cais/hle}, value: 1}", "- {dataset: {id: cais/hle, task_id: t}, value: high}",
        "- {dataset: {id: cais/hle, task_id: t}, value: .nan}", "- {dataset: {id: cais/hle, task_id: t}, value: [1]}",
        "- {dataset: {id: cais/hle, task_id: t}, value: nan}", "- {dataset: {id: cais/hle, task_id: t}, value: 1e300}",
        "- {dataset: {id: [x], task_id: t}, value: 1}", "- {dataset: {id: a/b, task_id: t}, value: 1, source: 3}",
        "- {dataset: {id: a/b, task_id: t}, value: 1}" + " " * MOST_CHARACTERS,
    ],
)  # fmt: skip
def test_a_malformed_file_or_result_costs_no_other(text: str) -> None:
    assert [each.benchmark for each in card_scores(None, [text, RESULTS])] == ["cais/hle", "Idavidrein/gpqa"]


@pytest.mark.parametrize(
    ("said", "day"),
    [("2026-01-15T10:30:00Z", "2026-01-15"), ("last week", None), ("2026-13-45", None), ("[2026]", None)],
)
def test_a_date_is_a_day_or_none(said: str, day: str | None) -> None:
    (found,) = card_scores(None, [f"- {{dataset: {{id: a/b, task_id: t}}, value: 1, date: {said}}}"])
    assert found.evaluated_on == day


def test_results_are_as_few_as_those_of_cards() -> None:
    many = "".join(f"- {{dataset: {{id: a/b{n}, task_id: t}}, value: {n}}}\n" for n in range(300))
    assert len(card_scores(index(result(1.0)), [many])) == MOST_SCORES


def test_a_link_that_is_none_and_null_characters_are_not_kept() -> None:
    given = result(1.0, name="MM\0LU\ud800")
    given["source"] = {"name": "evil", "url": "javascript:alert(1)"}
    (found,) = card_scores(index(given))
    assert (found.benchmark, found.reporter_url) == ("MMLU?", "")


def test_files_of_evaluation_results_are_read_at_the_commit(hub: Hub) -> None:
    repo = tiny_repo(model_index=index(result(68.4)))
    repo.files[".eval_results/all.yaml"] = RESULTS.encode()
    repo.files[".eval_results/notes.txt"] = repo.files["results.yaml"] = b"never asked for"
    hub.repos["tiny/model"] = repo
    assert [each.value for each in read_hub("tiny/model").scores] == [68.4, 20.9, 0.412]
    assert f"/tiny/model/resolve/{COMMIT}/.eval_results/all.yaml" in [path for _, path, _ in hub.requests]
    assert not [path for _, path, _ in hub.requests if path.endswith(("notes.txt", "/results.yaml"))]


@pytest.mark.django_db
def test_they_are_kept_with_the_version_and_shown_apart(hub: Hub, client: Client, tmp_path: Path) -> None:
    hub.repos["tiny/model"] = tiny_repo(model_index=index(result(68.4), result("broken")))
    assert [each.value for each in read_hub("tiny/model").scores] == [68.4]
    team = make_team()
    alice = make_user(team=team)
    version = fetched(import_model(team=team, user=alice, source="hub", source_ref="tiny/model"), tmp_path)
    row = CardScore.objects.get()
    assert (row.version, row.source) == (version, f"tiny/model@{COMMIT}")
    client.force_login(alice)
    page = client.get(f"/models/{version.model.public_id}").text
    assert "Reported by its publisher" in page
    assert "68.4" in page
    detail = client.get(f"/api/v1/models/{version.model.public_id}", headers=api_headers(alice)).json()
    (reported,) = detail["versions"][0]["reported_scores"]
    assert (reported["benchmark"], reported["value"]) == ("MMLU", 68.4)


@pytest.mark.django_db
def test_the_day_of_an_evaluation_is_shown_and_told(hub: Hub, client: Client, tmp_path: Path) -> None:
    hub.repos["tiny/model"].files[".eval_results/all.yaml"] = RESULTS.encode()
    team = make_team()
    alice = make_user(team=team)
    version = fetched(import_model(team=team, user=alice, source="hub", source_ref="tiny/model"), tmp_path)
    client.force_login(alice)
    assert "Eval traces</a> 15 Jan 2026" in client.get(f"/models/{version.model.public_id}").text
    detail = client.get(f"/api/v1/models/{version.model.public_id}", headers=api_headers(alice)).json()
    assert [each["evaluated_on"] for each in detail["versions"][0]["reported_scores"]] == [None, "2026-01-15"]
