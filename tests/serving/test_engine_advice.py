"""The deploy form says why this engine, and why not another, as the planner's recommendation does."""

from __future__ import annotations

import pytest
from django.test import Client

from apps.accounts.models import Team
from apps.catalog.models import ModelVersion
from apps.planning.engine_choice import Requirements, recommend_engines
from apps.serving.engine_advice import EngineAdvice, engine_advice
from apps.serving.plans import plan_serving
from tests.factories import make_adapter, make_host, make_stored_version, make_team, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def team() -> Team:
    return make_team("Lab")


def advise(version: ModelVersion, engine: str = "vllm", **options: object) -> EngineAdvice:
    return engine_advice(plan_serving(version=version, engine=engine, options=options, name="it"), version)


def test_it_is_the_planners_recommendation_for_the_hardware_here(team: Team) -> None:
    version = make_stored_version(team, host=make_host("rack", gpus=1))
    advice = advise(version, max_num_seqs=64)
    known = recommend_engines(Requirements(hardware="nvidia", precision="bf16", concurrency=64))
    assert advice.chosen is not None
    assert advice.chosen.choice == known[0]
    assert "batches 64 requests continuously" in advice.chosen.why
    assert advice.better is None
    assert [each.choice for each in advice.others] == known[1:]
    tgi = next(each for each in advice.others if each.choice.engine.name == "tgi")
    assert (tgi.can, tgi.why) == (False, "archived upstream in March 2026")


def test_what_the_options_and_the_files_ask_counts(team: Team) -> None:
    base = make_stored_version(team, host=make_host("box"))
    adapter = make_adapter(base)
    few = advise(base, max_num_seqs=1).chosen
    assert few is not None
    assert "continuously" not in few.why
    assert all(each.choice.engine.lora for each in advise(adapter).others if each.can)
    odd = make_stored_version(team, name="odd", precision="house-4bit")
    assert advise(odd).chosen is not None


def test_the_form_shows_it(client: Client, team: Team) -> None:
    version = make_stored_version(team, host=make_host("rack", gpus=1))
    client.force_login(make_user("alice", team=team))
    page = client.get(f"/endpoints/new?version={version.public_id}").text
    assert "Why vLLM" in page
    assert "recommended for this model here" in page
    assert "Archived upstream in March 2026." in page
    asked = {"version": version.pk, "engine": "vllm", "option-max_num_seqs": "64", "shown_engine": "vllm"}
    assert "batches 64 requests continuously" in client.post("/endpoints/preview", asked).text
