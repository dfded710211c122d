"""Models side by side: who is shown, what is the same, and what is never mixed."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from apps.accounts.models import Team
from apps.catalog.models import CardScore, ModelVersion
from apps.catalog.verdicts import sweep
from tests.factories import (
    make_eval_run,
    make_host,
    make_live_endpoint,
    make_stored_version,
    make_suite,
    make_team,
    make_user,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def team() -> Team:
    return make_team()


@pytest.fixture
def alice(client: Client, team: Team) -> Client:
    client.force_login(make_user("alice", team=team))
    return client


def address(*versions: ModelVersion, more: str = "") -> str:
    return f"/models/compare?{'&'.join(f'm={version.public_id}' for version in versions)}{more}"


def rows(client: Client, where: str) -> dict[str, Any]:
    return {row.title: row for group in client.get(where).context["groups"] for row in group.rows}


def test_facts_stand_side_by_side_and_equal_ones_are_dimmed(alice: Client, team: Team) -> None:
    make_host("rack", gpus=1)
    small = make_stored_version(team, name="small")
    large = make_stored_version(team, name="large", parameter_count=7_000_000_000, active_parameter_count=10**9)
    large.model.languages, large.model.is_gated = ["en", "de"], True
    large.model.save()
    sweep()
    found = rows(alice, address(small, large))
    assert found["Parameters"].values == [134_515_008, 7_000_000_000]
    assert found["Active parameters"].values == [None, 10**9]
    assert found["Languages"].values == ["", "en, de"]
    assert found["Gated"].values == ["no", "yes"]
    assert found["Architecture"].values == ["LlamaForCausalLM"] * 2
    assert [fit.cell for fit in found["RTX 4090"].values] == ["BF16", "BF16"]
    assert {title for title, row in found.items() if not row.is_same} == {
        "Parameters", "Active parameters", "Languages", "Gated",
    }  # fmt: skip
    page = alice.get(address(small, large)).text
    assert "They differ in parameters, active parameters, languages and gated." in page
    assert '<tr class="same">' in page
    assert "Licence" not in rows(alice, address(small, large, more="&only=differences"))


def test_a_fifth_an_unknown_and_an_invisible_one_are_said_so_and_the_rest_is_shown(alice: Client, team: Team) -> None:
    five = [make_stored_version(team, name=f"m{number}") for number in range(5)]
    hidden = make_stored_version(make_team(), name="not-ours")
    page = alice.get(address(*five, hidden, five[0], more="&m=mv-<b>&m=job-1"))
    assert page.context["versions"] == five[:4]
    assert "not shown: m4@0123456789ab." in page.text
    assert f"There is no model version “{hidden.public_id}”" in page.text
    assert "not-ours" not in page.text
    assert "There is no model version “mv-&lt;b&gt;”" in page.text
    assert 'name="add"' not in page.text


def test_without_a_choice_the_page_says_what_to_do(alice: Client) -> None:
    page = alice.get("/models/compare")
    assert page.status_code == 200
    assert "Nothing to compare yet" in page.text


def test_a_model_is_added_by_name_and_one_taken_out_by_its_link(alice: Client, team: Team) -> None:
    first = make_stored_version(team, name="alpha")
    make_stored_version(team, name="beta", label="old")
    newest = make_stored_version(team, name="beta", label="new")
    other = make_stored_version(team, name="beta-tuned")
    answer = alice.get(address(first, more="&add=beta"))
    assert (answer.status_code, answer["Location"]) == (302, address(first, newest))
    choice = alice.get(address(first, more="&add=bet"))
    assert [version for version, _ in choice.context["choices"]] == [newest, other]
    assert address(first, other).replace("&", "&amp;") in choice.text
    assert "No other model is called “omega”" in alice.get(address(first, more="&add=omega")).text
    assert f'href="{address(first)}" aria-label="Take beta out"' in alice.get(address(first, newest)).text
    assert alice.get(address(first, more="&add=%27%29+%26+%22")).status_code == 200


def test_measured_and_reported_scores_stand_apart_with_their_conditions(alice: Client, team: Team) -> None:
    suite = make_suite("quiz")
    here = make_stored_version(team, name="here")
    reported = make_stored_version(team, name="seed", source_ref="ByteDance-Seed/Seed-OSS-36B-Instruct")
    bare = make_stored_version(team, name="bare")
    make_eval_run(here, suite, {"colours": "1101"})
    like = make_eval_run(reported, suite, {"colours": "1000"})
    make_eval_run(reported, suite, {"colours": "1111"}, num_fewshot=5)
    groups = {group.title: group for group in alice.get(address(here, reported, bare)).context["groups"]}
    measured = groups["Scores measured here"]
    (row,) = measured.rows
    assert measured.origin == "measured"
    assert [value and value["value"] for value in row.values] == [0.75, 0.25, None]
    assert row.values[1]["run"] == like
    assert row.values[0]["low"] < 0.75 < row.values[0]["high"]
    others = groups["Scores that others report"]
    assert others.origin == "reported"
    gpqa = next(row for row in others.rows if row.title == "GPQA")
    assert [[each.score for each in found] for found in gpqa.values] == [[], [72.6], []]
    page = alice.get(address(here, reported)).text
    assert f"suite=quiz@1&amp;a={here.public_id}&amp;b={reported.public_id}" in page


def test_what_a_card_reports_has_a_part_of_its_own(alice: Client, team: Team) -> None:
    small, large = make_stored_version(team, name="small"), make_stored_version(team, name="large")
    CardScore.objects.create(
        version=small, benchmark="MMLU", metric="acc", value=68.4, setting="5-shot", source="lab/small@1"
    )
    where = address(small, large)
    (group,) = [group for group in alice.get(where).context["groups"] if group.title == "Scores of their own cards"]
    assert [row.title for row in group.rows] == ["MMLU, acc"]
    assert "5-shot" in alice.get(where).text


def test_a_score_under_other_conditions_is_said_so(alice: Client, team: Team) -> None:
    suite = make_suite("quiz")
    here, there = make_stored_version(team, name="here"), make_stored_version(team, name="there")
    make_eval_run(here, suite, {"colours": "1101"})
    make_eval_run(there, suite, {"colours": "1111"}, num_fewshot=5)
    assert "under other conditions than the first" in alice.get(address(here, there)).text


def test_another_teams_runs_and_endpoints_are_not_shown(alice: Client, team: Team) -> None:
    host, stranger = make_host(), make_team()
    here, there = make_stored_version(team, name="here"), make_stored_version(team, name="there")
    make_eval_run(here, make_suite("quiz"), {"colours": "1101"}, team=stranger)
    for owner, name in ((team, "ours"), (stranger, "theirs")):
        endpoint = make_live_endpoint(owner, host, name, port=18100 + len(name))
        endpoint.version = here
        endpoint.save()
    found = rows(alice, address(here, there))
    assert "quiz 1" not in found
    assert [[each.name for each in value] for value in found["Endpoints"].values] == [["ours"], []]


def test_the_number_of_queries_does_not_grow_with_the_runs(
    alice: Client, team: Team, django_assert_max_num_queries: Any
) -> None:
    versions = [make_stored_version(team, name=f"m{number}") for number in range(4)]
    suites = [make_suite(f"quiz{number}") for number in range(3)]
    for version in versions:
        for suite in suites:
            make_eval_run(version, suite, {"colours": "1101"})
    with django_assert_max_num_queries(35):
        alice.get(address(*versions))


def test_ticks_on_the_models_page_lead_to_the_comparison(alice: Client, team: Team) -> None:
    version = make_stored_version(team)
    page = alice.get("/models").text
    assert f'name="m" value="{version.public_id}" form="bulk"' in page
    assert 'id="bulk" method="get" action="/models/compare"' in page
    assert f'href="/models/compare?m={version.public_id}"' in alice.get(f"/models/{version.model.public_id}").text
