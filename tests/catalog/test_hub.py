"""What the server learns from a Hub before a download, through the real client."""

from __future__ import annotations

import pytest

from apps.accounts.problems import Problem
from apps.catalog.hub import read_choices, read_hub
from apps.catalog.licenses import license_class
from tests.catalog.hub_server import COMMIT, Hub, tiny_repo


def refused(repo: str, revision: str = "") -> Problem:
    with pytest.raises(Problem) as caught:
        read_hub(repo, revision)
    return caught.value


def test_a_branch_is_pinned_to_its_commit_with_licence_size_and_card(hub: Hub) -> None:
    facts = read_hub("tiny/model", "main")
    assert facts.commit == COMMIT
    assert (facts.publisher, facts.license) == ("tiny", "apache-2.0")
    assert facts.size_bytes == len(hub.repos["tiny/model"].files["model.safetensors"])
    assert facts.card.startswith("# Tiny")
    assert not facts.needs_remote_code
    assert (facts.task, facts.languages) == ("text-generation", ["en"])
    assert (facts.monthly_downloads, facts.is_gated) == (1234, False)


@pytest.mark.parametrize(
    ("given", "kept"),
    [(["en", "de"], ["en", "de"]), (None, []), ({"en": 1}, []), (["en", 5, "x" * 99], ["en", "x" * 20])],
)
def test_languages_are_kept_as_codes_whatever_the_card_holds(hub: Hub, given: object, kept: list[str]) -> None:
    hub.repos["tiny/model"] = tiny_repo(language=given)
    assert read_hub("tiny/model").languages == kept


@pytest.mark.parametrize(
    ("given", "named", "kept"),
    [
        ("cc-by-nc-4.0", "mit", "cc-by-nc-4.0"),
        (["mit", "apache-2.0"], "", "mit, apache-2.0"),
        ("other", "qwen-research", "qwen-research"),
        ("other", "MIT", "other: MIT"),
        (None, "apache-2.0", "other: apache-2.0"),
        ("other", "", "other"),
        (None, "", ""),
    ],
)
def test_a_free_name_is_never_taken_for_a_permissive_licence(hub: Hub, given: object, named: str, kept: str) -> None:
    hub.repos["tiny/model"] = tiny_repo(license=given, license_name=named)
    found = read_hub("tiny/model").license
    assert found == kept
    assert license_class(found) != "permissive"


def test_weights_that_lie_there_twice_count_once(hub: Hub) -> None:
    files = hub.repos["tiny/model"].files
    files |= {"consolidated.safetensors": b"x" * 99, "original/model.safetensors": b"x", "model.fp16.safetensors": b"x"}
    assert read_hub("tiny/model").size_bytes == len(files["model.safetensors"])


@pytest.mark.parametrize(
    ("named", "says"), [("adapter_config.json", "an adapter only"), ("model_index.json", "a Diffusers pipeline")]
)
def test_weights_that_are_no_model_are_refused_before_the_download(hub: Hub, named: str, says: str) -> None:
    files = hub.repos["tiny/model"].files
    files[named] = files.pop("config.json")
    problem = refused("tiny/model")
    assert (problem.errors[0].field, says in problem.detail) == ("source_ref", True)
    assert "safetensors" not in read_choices("tiny/model").formats


def test_a_config_with_a_number_without_end_is_refused(hub: Hub) -> None:
    hub.repos["tiny/model"].files["config.json"] = b'{"hidden_size": ' + b"1" * 5000 + b"}"
    assert "a number of more digits than are read" in refused("tiny/model").detail


def test_a_config_of_any_size_that_a_model_has_is_read_and_a_larger_one_is_told(hub: Hub) -> None:
    files = hub.repos["tiny/model"].files
    files["config.json"] = files["config.json"] + b" " * 500_000
    assert read_hub("tiny/model").commit == COMMIT
    files["config.json"] += b" " * 4_000_000
    assert "its config.json: it has more than 4,000,000 bytes" in refused("tiny/model").detail


def test_a_gated_repository_is_refused_until_the_token_is_let_in(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.repos["tiny/model"] = tiny_repo(gated=True)
    problem = refused("tiny/model")
    assert problem.status == 422
    assert "gated" in problem.detail
    assert f"{hub.url}/tiny/model" in problem.detail
    monkeypatch.setenv("HF_TOKEN", "hf_stranger")
    assert "gated" in refused("tiny/model").detail
    monkeypatch.setenv("HF_TOKEN", "hf_let_in")
    assert read_hub("tiny/model").commit == COMMIT


@pytest.mark.parametrize("name", ["tiny/absent", "tiny/private"])
def test_missing_and_private_repositories_look_alike(hub: Hub, name: str) -> None:
    hub.repos["tiny/private"] = tiny_repo(private=True)
    problem = refused(name)
    assert problem.errors[0].field == "source_ref"
    assert "or it is private: then save a Hub token under Settings" in problem.detail


def test_an_unknown_revision_names_the_field(hub: Hub) -> None:
    problem = refused("tiny/model", "v9")
    assert (problem.errors[0].field, problem.errors[0].value) == ("revision", "v9")


def test_a_repository_of_pickled_weights_is_refused(hub: Hub) -> None:
    del hub.repos["tiny/model"].files["model.safetensors"]
    assert "no .safetensors" in refused("tiny/model").detail


def test_a_rate_limit_says_when_to_come_back(hub: Hub) -> None:
    hub.rate_limited = True
    problem = refused("tiny/model")
    assert problem.status == 503
    assert "37 s" in problem.detail


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []
    monkeypatch.setattr("apps.engines.patience.time.sleep", slept.append)
    return slept


def test_short_waits_that_the_hub_asks_for_are_waited(hub: Hub, waits: list[float]) -> None:
    hub.slow_downs = [
        ("tiny/model", {"RateLimit": '"api";r=0;t=2', "RateLimit-Policy": '"fixed window";"api";q=500;w=300'}),
        ("tiny/model", {"Retry-After": "1"}),
        ("config.json", {}),
    ]
    assert read_hub("tiny/model").commit == COMMIT
    assert waits == [2, 1, 5]


def test_no_page_waits_longer_than_ten_seconds_in_all(hub: Hub, waits: list[float]) -> None:
    hub.slow_downs = [("tiny/model", {"Retry-After": "8"}), ("config.json", {"Retry-After": "4"})]
    assert "Try again in 4 s" in refused("tiny/model").detail
    hub.slow_downs = [("tiny/model", {"Retry-After": "0"})] * 3
    assert "Try again in 1 s" in refused("tiny/model").detail
    assert waits == [8, 0, 0]


def test_a_hub_that_is_down_is_said_so(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    problem = refused("tiny/model")
    assert problem.status == 503
    assert "cannot be reached" in problem.detail


def test_a_broken_config_is_refused(hub: Hub) -> None:
    hub.repos["tiny/model"].files["config.json"] = b"{not json"
    assert "not valid JSON" in refused("tiny/model").detail
    hub.repos["tiny/model"].files["config.json"] = b"[" * 200_000
    assert "nested too deep" in refused("tiny/model").detail
