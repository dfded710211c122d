"""The planner over REST: answers with units, problems that name the field, another team's version unseen."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from apps.accounts.models import Team
from apps.dashboard.plan_api import FineTunePlanIn, FitIn
from apps.fleet.models import Host, Reservation
from apps.planning import fit_question, train_lines
from apps.planning.reference import reference_model
from tests.factories import (
    api_headers,
    make_attempt,
    make_host,
    make_job,
    make_stored_version,
    make_suite,
    make_team,
    make_user,
)

pytestmark = pytest.mark.django_db
ON_H100: dict[str, Any] = {"model_id": "Qwen/Qwen3-32B", "gpu": "H100"}
QLORA: dict[str, Any] = {"model_id": "Llama-3.1-8B", "method": "qlora", "gpu": "A100 80GB", "dataset_tokens": 10**6}


@pytest.fixture
def team() -> Team:
    return make_team("Lab")


@pytest.fixture
def ask(client: Client, team: Team) -> Any:
    headers = api_headers(make_user("alice", team=team))
    return lambda what, body: client.post(f"/api/v1/plan/{what}", body, "application/json", headers=headers)


def test_a_named_gpu(ask: Any) -> None:
    answer = ask("fit", {"model_id": "Qwen/Qwen3-32B", "gpu": "H100 80GB", "max_model_len": 16_000})
    assert answer.status_code == 200
    (row,) = answer.json()["items"]
    assert (row["fits"], row["gpus"], row["hosts"]) == (True, 1, [])
    assert row["kv_available_gib_per_gpu_low"] < row["kv_available_gib_per_gpu"] < row["kv_available_gib_per_gpu_high"]


def test_the_hardware_here_with_the_hosts_that_have_it(ask: Any, team: Team) -> None:
    assert ask("fit", {"model_id": "Qwen/Qwen3-32B"}).json()["errors"][0]["field"] == "gpu"
    host = make_host("atlas", gpus=2)
    version = make_stored_version(team, host=host)
    version.facts = {"config": dict(reference_model("Llama-3.1-8B").config)}
    version.precision = "bf16"
    version.save()
    (row,) = ask("fit", {"version": version.public_id, "max_model_len": 4096}).json()["items"]
    assert row["hosts"] == ["atlas"]
    assert row["weights_gib_per_gpu"] == pytest.approx(15.0, abs=0.1)


def test_when_each_host_could_start_it(ask: Any, team: Team) -> None:
    def starts() -> Any:
        (row,) = ask("fit", {"model_id": "Llama-3.1-8B", "max_model_len": 4096, "gpus": 2}).json()["items"]
        return [(each["host"], each["at"] is not None, each["waits_for"]) for each in row["starts"]]

    make_host("brio", gpus=1)
    atlas, cedar = make_host("atlas", gpus=2), make_host("cedar", gpus=2)
    assert starts() == [("atlas", True, []), ("cedar", True, [])]
    server, training = make_job(team, kind="serve"), make_job(team, kind="train", time_limit_seconds=3600)
    for job, host in ((server, atlas), (training, cedar)):
        job.status = "running"
        job.save()
        attempt = make_attempt(job, host, claimed_at=timezone.now())
        Reservation.objects.create(device=host.devices.get(kind="gpu", index=0), holder=attempt.pk)
    assert starts() == [("cedar", True, [training.public_id]), ("atlas", False, [server.public_id])]
    Host.objects.filter(pk=cedar.pk).update(cordoned=True)
    assert starts() == [("atlas", False, [server.public_id])]


def test_the_memory_of_a_gpu_names_it_as_well(ask: Any) -> None:
    make_host("atlas", gpus=1)
    model = {"model_id": "Llama-3.1-8B", "max_model_len": 4096}
    (small,) = ask("fit", model | {"gpu_memory_gib": 12}).json()["items"]
    assert (small["gpu"], small["fits"], small["hosts"]) == ("12.0GB class", False, [])
    (large,) = ask("fit", model | {"gpu_memory_gib": 80}).json()["items"]
    assert large["fits"]
    (here,) = ask("fit", model).json()["items"]
    assert here["gpu"] == "RTX 4090"


def test_only_hosts_with_as_many_gpus_are_named(ask: Any) -> None:
    make_host("brio", gpus=1)
    make_host("atlas", gpus=2)
    for gpus, hosts in ((1, ["atlas", "brio"]), (2, ["atlas"]), (4, [])):
        (row,) = ask("fit", {"model_id": "Llama-3.1-8B", "max_model_len": 4096, "gpus": gpus}).json()["items"]
        assert (row["gpus"], row["hosts"]) == (gpus, hosts)


def test_every_key_of_a_line_is_a_field_of_rest(ask: Any) -> None:
    for schema, keys in ((FitIn, fit_question.KEYS), (FineTunePlanIn, train_lines.KEYS)):
        assert set(keys) - {"id", "model"} <= set(schema.model_fields)  # `model` is another word for model_id
    assert ask("finetune", QLORA | {"precision": "bf16", "weights_bytes": 16_060_522_240}).json()["fits"]


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ({"model_id": "Qwen/Qwen3-33B", "gpu": "H100"}, "model_id", "Did you mean"),
        ({"model_id": "Qwen/Qwen3-32B", "gpu": "abacus"}, "gpu", "not known"),
        ({"model_id": "Qwen/Qwen3-32B", "gpu": "H100", "precision": "int5x"}, "precision", "not known"),
        (
            {"model_id": "Qwen/Qwen3-32B", "gpu": "H100", "gpu_memory_utilization": 3},
            "gpu_memory_utilization",
            "0.01 to 1",
        ),
        (
            {"model_id": "Qwen/Qwen3-32B", "gpu": "H100", "tensor_parallel": 3, "gpus": 3},
            "tensor_parallel",
            "does not divide",
        ),
        ({"config": {"hidden_size": 4096}, "gpu": "H100"}, "config", "lacks"),
        ({"gpu": "H100"}, "model_id", "Give model_id"),
        (ON_H100 | {"speed": 9}, "speed", "Extra inputs"),
    ],
)
def test_bad_input_names_its_field(ask: Any, body: dict[str, Any], field: str, words: str) -> None:
    answer = ask("fit", body)
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["field"] == field
    assert words in error["message"]


def test_another_teams_version_is_not_found(ask: Any) -> None:
    other = make_stored_version(make_team("Other"), host=make_host())
    suite = make_suite("quiz")
    for what, rest in (("fit", {"gpu": "H100"}), ("eval", {"suite": suite.name}), ("finetune", {"method": "lora"})):
        answer = ask(what, {"version": other.public_id} | rest)
        assert answer.status_code == 422
        (error,) = answer.json()["errors"]
        assert (error["field"], error["value"]) == ("version", other.public_id)
        assert "Other" not in answer.content.decode()


def test_models_for_a_gpu_all_fit_and_say_whose_score_it_is(ask: Any) -> None:
    rows = ask("model", {"gpu": "RTX 4090", "objective": "quality", "limit": 5}).json()["items"]
    assert len(rows) == 5
    scores = [row["score"] for row in rows]
    assert scores == sorted(scores, reverse=True)
    for row in rows:
        asked = {"model_id": row["model_id"], "precision": row["precision"], "gpu": "RTX 4090", "max_model_len": 8192}
        assert ask("fit", asked).json()["items"][0]["fits"]
        assert "independent" in row["score_of"]
    assert ask("model", {"gpu": "RTX 3050 6GB", "context": 9_000_000}).json()["items"] == []


def test_an_archived_engine_is_never_recommended(ask: Any) -> None:
    rows = ask("engine", {"needs_lora": True}).json()["items"]
    assert rows[0] == {
        "engine": "vllm", "title": "vLLM", "can": True, "refusals": [], "reasons": rows[0]["reasons"],
    }  # fmt: skip
    tgi = next(row for row in rows if row["engine"] == "tgi")
    assert (tgi["can"], tgi["refusals"]) == (False, ["archived upstream in March 2026"])
    gguf = ask("engine", {"hardware": "mac", "model_format": "gguf", "precision": "Q4_K_M", "concurrency": 1}).json()
    assert [row["engine"] for row in gguf["items"] if row["can"]] == ["llama.cpp", "ollama"]


def test_a_fine_tune_and_an_evaluation(ask: Any, team: Team) -> None:
    tuned = ask(
        "finetune", {"model_id": "Llama-3.1-8B", "method": "qlora", "gpu": "A100 80GB", "dataset_tokens": 10**6}
    )
    body = tuned.json()
    assert body["fits"]
    assert body["cost_usd_low"] < body["cost_usd"] < body["cost_usd_high"]
    assert (
        ask("finetune", {"model_id": "Llama-3.1-8B", "method": "magic", "gpu": "L4"}).json()["errors"][0]["field"]
        == "method"
    )
    version = make_stored_version(team, host=make_host())
    suite = make_suite("quiz")
    suite.tasks = [{**suite.tasks[0], "item_count": None, "prompt_tokens": 30, "output_tokens": 4}]
    suite.save()
    planned = ask("eval", {"version": version.public_id, "suite": suite.name, "limit": 50})
    assert planned.status_code == 200
    assert planned.json()["seconds_low"] < planned.json()["seconds"] < planned.json()["seconds_high"]
    assert planned.json()["cost"] is None
    assert [planned.json()[name] for name in ("items", "prompt_tokens", "output_tokens")] == [50, 1500, 200]
    assert (planned.json()["confidence"], planned.json()["formula_version"]) == ("low", "evaluation-2")


def test_times_of_files_are_those_of_the_versions_own(ask: Any, team: Team) -> None:
    version = make_stored_version(team, precision="bf16")
    version.facts = {"config": dict(reference_model("Llama-3.1-8B").config), "weights_bytes": 16_060_522_240}
    version.save()
    asked = {"version": version.public_id, "gpu": "H100 80GB", "max_model_len": 4096}
    times = {
        precision: (row["download_s"], row["load_s_high"])
        for precision in (None, "auto", "BF16", "fp8", "awq int4")
        for row in ask("fit", asked | {"precision": precision}).json()["items"]
    }
    assert times[None][0] == pytest.approx(16_060_522_240 / 120e6, rel=0.01)
    assert times["auto"] == times["BF16"] == times[None]
    assert times["fp8"] == times["awq int4"] == (None, None)
    (by_name,) = ask("fit", {"model_id": "Llama-3.1-8B", "gpu": "H100 80GB", "precision": "awq int4"}).json()["items"]
    assert by_name["download_s"] is not None  # a release at that precision


def test_a_gguf_file_is_no_base_of_a_fine_tune(ask: Any, team: Team) -> None:
    version = make_stored_version(team, precision="Q4_K_M")
    version.facts |= {"format": "gguf"}
    version.save()
    refused = ask("finetune", {"version": version.public_id, "method": "qlora", "gpu": "A100 80GB"})
    assert refused.status_code == 422
    (error,) = refused.json()["errors"]
    assert (error["field"], error["value"]) == ("version", version.public_id)
    assert "is stored as GGUF" in error["message"]
    assert "Import the safetensors" in error["message"]


def test_what_a_batch_line_takes_rest_takes_too(ask: Any) -> None:
    model = {"model_id": "meta-llama/Llama-3.1-8B", "gpu": "H100 80GB"}
    peaks = [
        ask("fit", model | {"max_num_batched_tokens": tokens}).json()["items"][0]["activation_peak_gib"]
        for tokens in (2048, 65_536)
    ]
    assert peaks[0] < peaks[1]
    kept, moved = (
        ask("finetune", model | {"seq_len": 8192, "gradient_checkpointing": word}).json()["peak_gib_per_gpu"]
        for word in (True, "unsloth")
    )
    assert moved["mid"] < kept["mid"]
    refused = ask("finetune", model | {"gradient_checkpointing": "perhaps"})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "gradient_checkpointing")


def test_a_fine_tune_of_a_base_whose_stored_precision_is_not_known(ask: Any, team: Team) -> None:
    """Training loads the base at the bits of its method."""
    facts = {"config": dict(reference_model("Llama-3.1-8B").config)}
    version = make_stored_version(team, precision="banana", facts=facts)
    asked = {key: value for key, value in QLORA.items() if key != "model_id"} | {"version": version.public_id}
    assert ask("finetune", asked).status_code == 200
