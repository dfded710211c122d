"""Facets, pages and kept verdicts of the Models page."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.accounts.models import Team
from apps.catalog.engines_for import hardware_of
from apps.catalog.fit import device_classes
from apps.catalog.models import Location, Model, Verdict
from apps.catalog.verdicts import judge_missing, kept_fits, running_on_one, sweep
from tests.factories import (
    make_eval_run,
    make_host,
    make_model_version,
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


def counts(client: Client, address: str) -> dict[str, dict[str, int]]:
    facets = client.get(address).context["facets"]
    return {facet.key: {option.value: option.count for option in facet.options} for facet in facets}


def names(client: Client, address: str) -> list[str]:
    return [row.model.name for row in client.get(address).context["rows"]]


def test_facets_combine_and_count_beside_what_is_chosen(alice: Client, team: Team) -> None:
    make_stored_version(team, name="small")
    large = make_stored_version(team, name="large", parameter_count=7_000_000_000, context_length=131072)
    large.model.languages = ["en", "de"]
    large.model.license = "mit"
    large.model.save()
    all_counts = counts(alice, "/models")
    assert all_counts["parameters"] == {"4": 1, "4-15": 1}
    assert all_counts["context"] == {"32k": 1, "128k": 1}
    assert all_counts["licence"] == {"apache-2.0": 1, "mit": 1}
    assert names(alice, "/models?parameters=4") == ["small"]
    assert names(alice, "/models?parameters=4&parameters=4-15&sort=name") == ["large", "small"]
    assert names(alice, "/models?parameters=4-15&licence=mit&language=de") == ["large"]
    beside = counts(alice, "/models?parameters=4")
    assert beside["parameters"] == {"4": 1, "4-15": 1}
    assert beside["licence"] == {"apache-2.0": 1}


def test_an_unknown_option_finds_nothing_and_can_be_taken_back(alice: Client, team: Team) -> None:
    make_stored_version(team)
    page = alice.get("/models?licence=<b>nonsense")
    assert page.context["rows"] == []
    assert 'value="&lt;b&gt;nonsense" checked' in page.text
    assert "No model matches these filters" in page.text


def test_another_teams_models_are_not_counted(alice: Client, team: Team) -> None:
    make_stored_version(team)
    make_stored_version(make_team(), name="hidden")
    assert counts(alice, "/models")["licence"] == {"apache-2.0": 1}


def test_runs_here_goes_by_kept_verdicts(alice: Client, team: Team) -> None:
    make_host("rack", gpus=2)
    make_stored_version(team, name="runs")
    make_stored_version(team, name="unknown", facts={})
    (gpu,) = device_classes()
    assert "being worked out" in alice.get("/models").text
    sweep()
    assert names(alice, "/models?runs=any") == ["runs"]
    assert counts(alice, "/models")["runs"] == {"any": 1, gpu.key: 1}
    assert Verdict.objects.count() == 2


def test_only_gpus_of_hosts_that_still_belong_to_the_fleet_count() -> None:
    make_host("gone", gpus=1, left_at=timezone.now()).devices.filter(kind="gpu").update(name="NVIDIA H100 80GB HBM3")
    make_host("rack", gpus=1)
    assert [device.title for device in device_classes()] == ["RTX 4090"]


def test_the_headline_counts_nothing_that_is_not_known_yet(alice: Client, team: Team) -> None:
    make_host("rack", gpus=2)
    make_stored_version(team, name="small")
    assert alice.get("/models").context["headline"] == "1 model; where it runs is being worked out"
    sweep()
    assert alice.get("/models").context["headline"] == "1 of 1 model runs on a single GPU you own"
    make_stored_version(team, name="later")
    headline = alice.get("/models").context["headline"]
    assert headline == "1 of 2 models runs on a single GPU you own, 1 being worked out"


def test_pages_hold_fifty_and_a_page_beyond_the_last_is_the_last(alice: Client, team: Team) -> None:
    for number in range(52):
        make_stored_version(team, name=f"m{number:02}")
    assert names(alice, "/models?sort=name&page=2") == ["m50", "m51"]
    assert names(alice, "/models?sort=name&page=99") == ["m50", "m51"]
    assert names(alice, "/models?sort=name&page=-1&q=m0") == [f"m0{digit}" for digit in range(10)]
    page = alice.get("/models?sort=name&licence=apache-2.0").text
    assert "Page 1 of 2" in page
    assert "?sort=name&amp;licence=apache-2.0&amp;page=2" in page


def test_a_verdict_of_an_older_formula_or_of_other_devices_is_never_current(team: Team) -> None:
    version = make_stored_version(team)
    make_host("rack", gpus=1)
    devices = device_classes()
    judge_missing(devices)
    assert running_on_one(devices) == {devices[0].key: {version.pk}}
    Verdict.objects.update(formula_version="vllm-0")
    assert running_on_one(devices) == {devices[0].key: set()}
    assert kept_fits([version.pk], devices)[version.pk][0].why_not == "being worked out"
    sweep()
    assert running_on_one(devices) == {devices[0].key: {version.pk}}
    Verdict.objects.create(version=version, device="gone/1/1", formula_version="vllm-2", count=1)
    sweep()
    assert list(Verdict.objects.values_list("device", flat=True)) == [devices[0].key]


def test_a_sweep_judges_a_bounded_number_and_the_next_one_the_rest(team: Team) -> None:
    make_host("rack", gpus=1)
    for number in range(3):
        make_stored_version(team, name=f"m{number}")
    devices = device_classes()
    assert [judge_missing(devices, limit=2) for _ in range(3)] == [2, 1, 0]


def test_what_is_kept_between_requests_follows_every_change(alice: Client, team: Team) -> None:
    version = make_stored_version(team, name="kept")
    assert counts(alice, "/models")["licence"] == {"apache-2.0": 1}
    Model.objects.filter(pk=version.model_id).update(license="mit")  # as whoever writes past save()
    assert counts(alice, "/models")["licence"] == {"mit": 1}
    Location.objects.filter(artifact__version=version).delete()
    assert names(alice, "/models?show=stored") == []
    version.model.delete()
    assert alice.get("/models").context["total"] == 0


def test_facets_of_engines_and_of_what_a_model_reads(alice: Client, team: Team) -> None:
    make_host("rack", gpus=1)
    plain = make_stored_version(team, name="plain")
    sees = make_stored_version(team, name="sees", facts={"config": {"vision_config": {"depth": 2}}})
    make_stored_version(team, name="hears", facts={"config": {"thinker_config": {}}})
    packed = make_stored_version(team, name="packed", precision="Q4_K_M")
    packed.artifacts.update(format="gguf")
    make_model_version(team, "empty", facts={})
    shown = counts(alice, "/models")
    assert shown["modality"] == {"text": 5, "image": 2, "audio": 1}
    assert shown["engine"] == {"vLLM": 3, "llama.cpp": 1}
    assert names(alice, "/models?modality=image&sort=name") == ["hears", "sees"]
    assert names(alice, "/models?engine=llama.cpp") == ["packed"]
    assert "plain" in names(alice, "/models?engine=vLLM")
    sees.facts = {**sees.facts, "tokenizer": "Qwen2Tokenizer"}
    sees.save()
    page = alice.get(f"/models/{sees.model.public_id}").text
    assert "<dt>Reads</dt><dd>text, image</dd>" in page
    assert "<dt>Tokenizer</dt><dd>Qwen2Tokenizer</dd>" in page
    assert "<dt>Reads</dt><dd>text</dd>" in alice.get(f"/models/{plain.model.public_id}").text


def test_a_row_is_read_once_until_something_changes(alice: Client, team: Team) -> None:
    host = make_host("rack", gpus=1)
    version = make_stored_version(team, name="tiny", host=host)

    def asked() -> tuple[int, str]:
        with CaptureQueriesContext(connection) as queries:
            page = alice.get("/models").text
        return sum('FROM "catalog_artifact"' in each["sql"] for each in queries), page

    asked()
    assert asked()[0] == 0
    run = make_eval_run(version, make_suite(), {"colours": "1101"})
    assert '<td class="num">1</td>' in asked()[1]
    run.delete()
    assert '<td class="num">–</td>' in asked()[1]
    version.model.license = "mit"
    version.model.save()
    reads, page = asked()
    assert reads == 1
    assert '<td class="nowrap">mit</td>' in page
    Location.objects.all().delete()
    assert "no host" in asked()[1]
    make_stored_version(team, name="tiny", label="ffff", parameter_count=7_000_000_000)
    page = asked()[1]
    assert "2 versions" in page
    assert "7.0 B" in page


@pytest.mark.parametrize(
    ("title", "hardware"),
    [("MI300X", "amd"), ("Radeon PRO W7900", "amd"), ("AMD Instinct MI210", "amd"), ("L40S", "nvidia"),
     ("RTX 4090", "nvidia"), ("A100-SXM4-80GB", "nvidia")],
)  # fmt: skip
def test_a_gpus_vendor_by_its_name(title: str, hardware: str) -> None:
    assert hardware_of("gpu", title) == hardware
