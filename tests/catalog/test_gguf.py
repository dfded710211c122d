"""GGUF repositories: choose a quantisation, bring it in, serve it with llama.cpp and with nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from apps.accounts.models import Team, User
from apps.accounts.problems import Problem
from apps.calibration.models import Estimate
from apps.catalog.choices import offer_of
from apps.catalog.hub import read_hub
from apps.catalog.models import Artifact, Model, ModelImport
from apps.catalog.placement import resolve_model
from apps.catalog.services import copy_version, import_model
from apps.evals.plans import plan_eval_run
from apps.finetunes.models import Dataset
from apps.finetunes.services import build_spec
from apps.serving.plans import plan_serving
from tests.catalog.bringing import fetched
from tests.catalog.hub_server import COMMIT, Hub, Repo, tiny_repo
from tests.factories import api_headers, make_host, make_job, make_suite
from tests.gguf_models import CONTEXT, tiny_gguf, tiny_gguf_parts

pytestmark = pytest.mark.django_db
SMALL, LARGE = tiny_gguf(12), tiny_gguf(8)  # Q4_K, Q8_0


@pytest.fixture
def gguf(hub: Hub, settings: Any) -> Hub:
    """tiny/gguf: two quantisations, one of them in two parts, with a projector and pickled weights beside them."""
    settings.EGRESS_ALLOW = ["localhost"]  # where this Hub keeps large files
    first, second = tiny_gguf_parts(8)
    hub.repos["tiny/gguf"] = Repo(
        files={
            "tiny-Q4_K_M.gguf": SMALL,
            "Q8_0/tiny-Q8_0-00001-of-00002.gguf": first,
            "Q8_0/tiny-Q8_0-00002-of-00002.gguf": second,
            "mmproj-F16.gguf": b"GGUF",
            "pytorch_model.bin": b"never fetched",
            "README.md": b"# Tiny",
        }
    )
    return hub


def test_of_the_file_only_its_header_is_read_before_it_is_fetched(gguf: Hub) -> None:
    facts = read_hub("tiny/gguf", variant="q4_k_m")
    assert (facts.variant, facts.size_bytes, facts.commit) == ("Q4_K_M", len(SMALL), COMMIT)
    asked = [(path, part) for _, path, part in gguf.requests if path.endswith(".gguf")]
    assert asked
    assert all(part.startswith("bytes=0-") for _, part in asked), "only its beginning may be fetched"


def test_a_person_must_choose_and_is_told_from_what(gguf: Hub) -> None:
    with pytest.raises(Problem) as refused:
        read_hub("tiny/gguf")
    (error,) = refused.value.errors
    assert error.field == "variant"
    assert "2 GGUF quantisations: Q4_K_M (1 MB), Q8_0 (1 MB). Choose one." in error.message
    with pytest.raises(Problem) as unknown:
        read_hub("tiny/gguf", variant="Q5_K_M")
    assert unknown.value.errors[0].message.startswith("tiny/gguf has no GGUF quantisation Q5_K_M. It has Q4_K_M")


def test_what_cannot_be_served_is_named(hub: Hub) -> None:
    hub.repos["tiny/onnx"] = Repo(files={"model.onnx": b"1", "pytorch_model.bin": b"2"})
    with pytest.raises(Problem) as refused:
        read_hub("tiny/onnx")
    assert "ONNX, which none of the engines here serves" in refused.value.detail
    assert "pickled weights, which can run code" in refused.value.detail


def test_a_damaged_header_is_refused_in_words(gguf: Hub) -> None:
    gguf.repos["tiny/gguf"].files["tiny-Q4_K_M.gguf"] = SMALL[:300]
    with pytest.raises(Problem) as refused:
        read_hub("tiny/gguf", variant="Q4_K_M")
    assert (refused.value.status, refused.value.errors[0].field) == (422, "source_ref")
    assert "tiny/gguf cannot be loaded by its weights" in refused.value.detail


def test_each_quantisation_is_offered_with_its_size_and_fit(gguf: Hub) -> None:
    make_host(gpus=1)
    offer = offer_of("tiny/gguf")
    assert {each.format: bool(each.why_not) for each in offer.formats} == {"gguf": False, "pytorch": True}
    assert [each.label for each in offer.choices] == ["Q4_K_M", "Q8_0"]
    for choice in offer.choices:
        (fit,) = choice.fits
        assert fit.estimate is not None
        assert (fit.estimate.verdict, fit.precision) == ("fits", choice.label)


def test_a_text_that_names_no_repository_is_offered_nothing(gguf: Hub, client: Client, alice: User) -> None:
    answer = client.get("/api/v1/models/choices?source_ref=no+such+thing", headers=api_headers(alice))
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert (error["field"], error["value"]) == ("source_ref", "no such thing")
    assert "names no repository" in error["message"]


def test_two_quantisations_of_one_commit_are_two_versions(gguf: Hub, team: Team, alice: User, tmp_path: Path) -> None:
    make_host()
    small = import_model(team=team, user=alice, source="hub", source_ref="tiny/gguf", variant="Q4_K_M")
    large = import_model(team=team, user=alice, source="hub", source_ref="tiny/gguf:Q8_0")
    again = import_model(team=team, user=alice, source="hub", source_ref="tiny/gguf:Q4_K_M")
    assert (again.pk, small.variant, large.variant) == (small.pk, "Q4_K_M", "Q8_0")
    assert Estimate.objects.get(job=small.job).quantity == "download_seconds"
    first, second = fetched(small, tmp_path / "small"), fetched(large, tmp_path / "large")
    assert first.model == second.model
    assert (first.label, second.label) == (f"Q4_K_M-{COMMIT[:12]}", f"Q8_0-{COMMIT[:12]}")
    assert (first.precision, first.context_length, first.is_gguf) == ("Q4_K_M", CONTEXT, True)
    assert first.parameter_count == second.parameter_count
    artifact = Artifact.objects.get(version=second)
    paths = [file["path"] for file in artifact.files]
    assert artifact.format == "gguf"
    assert paths == ["Q8_0/tiny-Q8_0-00001-of-00002.gguf", "Q8_0/tiny-Q8_0-00002-of-00002.gguf", "README.md"]
    assert import_model(team=team, user=alice, source="hub", source_ref="tiny/gguf", variant="Q8_0").pk == large.pk


def test_a_copy_brings_the_same_quantisation(gguf: Hub, team: Team, alice: User, tmp_path: Path) -> None:
    row = import_model(team=team, user=alice, source="hub", source_ref="tiny/gguf", variant="Q8_0")
    version = fetched(row, tmp_path)
    copy = copy_version(version=version, host=make_host("brio"))
    assert copy.job.spec["payload"]["source"] == f"hub:tiny/gguf:Q8_0@{COMMIT}"


def test_llama_cpp_is_pointed_at_the_first_part(gguf: Hub, team: Team, alice: User, tmp_path: Path) -> None:
    host = make_host()
    row = import_model(team=team, user=alice, source="hub", source_ref="tiny/gguf", variant="Q8_0", host=host)
    version = fetched(row, tmp_path)
    plan = plan_serving(version=version, engine="llama-cpp", options={"context_length": 1024}, name="tiny")
    assert plan.fit is not None
    assert (plan.fit.formula_version, plan.fit.fits) == ("llama-cpp-3", True)
    job = make_job(team, kind="serve", engine="llama-cpp", spec=plan.spec.model_dump(mode="json"))
    spec = resolve_model(job, host)
    assert spec.model is not None
    assert Path(spec.model.path).is_file()
    assert spec.model.path.endswith("Q8_0/tiny-Q8_0-00001-of-00002.gguf")


def test_an_engine_that_cannot_load_it_is_refused_with_one_that_can(
    gguf: Hub, team: Team, alice: User, tmp_path: Path
) -> None:
    row = import_model(team=team, user=alice, source="hub", source_ref="tiny/gguf", variant="Q4_K_M")
    version = fetched(row, tmp_path)
    asks: list[tuple[Any, str, str]] = [
        (
            lambda: plan_serving(version=version, engine="vllm", options={}, name="t"),
            "engine",
            "Serve it with llama.cpp.",
        ),
        (lambda: plan_eval_run(version=version, suite=make_suite(), options={}), "version", "Import the safetensors"),
        (
            lambda: build_spec(base=version, dataset=Dataset(), engine="axolotl", options={}),
            "base",
            "Import the safetensors",
        ),
    ]
    for ask, field, words in asks:
        with pytest.raises(Problem) as refused:
            ask()
        (error,) = refused.value.errors
        assert error.field == field
        assert words in error.message


def test_a_gguf_file_on_a_host_is_used_where_it_lies(team: Team, alice: User, tmp_path: Path) -> None:
    host = make_host()
    for label, data in (("Q4_K_M", SMALL), ("Q8_0", LARGE)):
        (tmp_path / f"tiny-{label}.gguf").write_bytes(data)
    path = str(tmp_path / "tiny-Q8_0.gguf")
    row = import_model(team=team, user=alice, source="path", source_ref=path, host=host)
    assert row.name == "tiny-Q8_0"
    version = fetched(row, tmp_path / "out")
    artifact = Artifact.objects.get(version=version)
    assert [file["path"] for file in artifact.files] == ["tiny-Q8_0.gguf"]
    location = artifact.locations.get()
    assert (location.path, location.is_adopted) == (str(tmp_path), True)
    assert version.label.startswith("Q8_0-")


def test_the_page_shows_the_choices_and_imports_the_chosen_one(gguf: Hub, alice: User, client: Client) -> None:
    make_host(gpus=1)
    client.force_login(alice)
    asked = {"source": "hub", "source_ref": "tiny/gguf"}
    page = client.post("/models/import", asked)
    text = page.content.decode()
    assert page.status_code == 422
    assert 'name="variant" value="Q8_0"' in text
    assert "Fits" in text
    assert not ModelImport.objects.exists()
    answer = client.post("/models/import", asked | {"variant": "Q8_0"})
    assert answer.status_code == 302
    assert ModelImport.objects.get().variant == "Q8_0"


def test_rest_lists_the_choices(gguf: Hub, alice: User, client: Client) -> None:
    make_host(gpus=1)
    answer = client.get("/api/v1/models/choices?source_ref=tiny/gguf", headers=api_headers(alice))
    assert answer.status_code == 200
    assert [each["variant"] for each in answer.json()["choices"]] == ["Q4_K_M", "Q8_0"]
    assert answer.json()["choices"][0]["fits"][0]["verdict"] == "fits"
    wrong = client.get("/api/v1/models/choices?source_ref=no/such/thing", headers=api_headers(alice))
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "source_ref")


def test_safetensors_need_no_choice(hub: Hub, team: Team, alice: User) -> None:
    hub.repos["tiny/both"] = tiny_repo()
    hub.repos["tiny/both"].files["tiny-Q4_K_M.gguf"] = SMALL
    assert import_model(team=team, user=alice, source="hub", source_ref="tiny/both").variant == ""
    assert Model.objects.count() == 0
