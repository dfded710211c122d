"""One GPU and one model have one answer: on the model page, in the deploy form, over REST and from the command."""

from __future__ import annotations

import argparse
import json
from typing import Any

import pytest
from django.test import Client

from apps.accounts.models import Team, User
from apps.catalog.fit import REQUESTS, UTILISATION, device_classes, every_fit
from apps.catalog.models import ModelVersion
from apps.catalog.registration import stored_precision
from apps.finetunes.estimates import estimate_training
from apps.finetunes.models import Dataset
from apps.fleet.models import Device
from apps.fleet.querysets import largest_device
from apps.planning.gpu_memory import usable_of
from apps.planning.memory import GIB
from apps.planning.reference import reference_model
from apps.planning.serving_plan import FitEstimate
from apps.serving.plans import plan_serving
from stackweb.fit_command.arguments import add_fit_commands
from tests.factories import api_headers, make_host, make_stored_version, make_team, make_user

pytestmark = pytest.mark.django_db
TOKENS = 8192


@pytest.fixture
def team() -> Team:
    return make_team("Lab")


@pytest.fixture
def alice(team: Team) -> User:
    return make_user("alice", team=team)


@pytest.fixture
def version(team: Team) -> ModelVersion:
    """On a host with an RTX 3090: its driver says 24.00 GiB, of which torch sees 23.58."""
    host = make_host("atlas")
    Device.objects.create(
        host=host, kind="gpu", uuid="GPU-1", name="NVIDIA GeForce RTX 3090", memory_bytes=24_576 << 20
    )
    facts = {"config": dict(reference_model("Llama-3.1-8B").config)}
    version = make_stored_version(team, name="llama", host=host, facts=facts, precision="bf16")
    version.artifacts.update(size_bytes=0)  # so that all go by the config
    return version


def figures(fit: FitEstimate | None) -> tuple[str, float, float, int]:
    assert fit is not None
    return (fit.verdict, round(fit.weights_bytes / GIB, 4), round(fit.kv_room_bytes / GIB, 4), fit.kv_tokens)


def figures_of(row: dict[str, Any]) -> tuple[str, float, float, int]:
    return (row["verdict"], row["weights_gib_per_gpu"], row["kv_available_gib_per_gpu"], row["kv_tokens"])


def test_page_form_rest_and_command_say_the_same(
    client: Client, alice: User, version: ModelVersion, capsys: pytest.CaptureFixture[str]
) -> None:
    (gpu,) = device_classes()
    assert gpu.memory_bytes == round(23.58 * GIB)
    page = figures(every_fit(version, gpu)[0].estimate)
    form = plan_serving(version=version, engine="vllm", options={"max_model_len": TOKENS}, name="llama")
    asked = {"max_model_len": TOKENS, "max_num_seqs": REQUESTS, "gpu_memory_utilization": UTILISATION}
    body = asked | {"version": version.public_id}
    answer = client.post("/api/v1/plan/fit", body, "application/json", headers=api_headers(alice))
    (row,) = answer.json()["items"]
    assert form.capacity_bytes == gpu.memory_bytes
    assert figures(form.fit) == page
    assert figures_of(row) == page
    options = [word for name, value in asked.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    assert figures_of(command(["fit", "--model", "Llama-3.1-8B", "--gpu", "RTX 3090", *options], capsys)) == page


@pytest.mark.parametrize("quantisation", ["Q4_K_M", "IQ2_XXS", "F16", "BF16", "F32", "MXFP4_MOE"])
def test_a_gguf_version_is_llama_cpps_on_the_page_and_over_rest(
    client: Client, alice: User, version: ModelVersion, quantisation: str
) -> None:
    version.facts |= {"format": "gguf", "quantisation": quantisation, "weights_bytes": 15_000_000_000}
    version.precision = stored_precision({"quantisation": quantisation})
    version.save()
    (gpu,) = device_classes()
    page = every_fit(version, gpu)[0]
    body = {"version": version.public_id, "max_model_len": TOKENS}
    (row,) = client.post("/api/v1/plan/fit", body, "application/json", headers=api_headers(alice)).json()["items"]
    assert figures_of(row) == figures(page.estimate)
    assert row["formula_version"].startswith("llama-cpp")
    assert row["decode_tokens_per_s"] == pytest.approx(page.speed.decode[1] if page.speed else 0, rel=0.01)


def command(words: list[str], capsys: pytest.CaptureFixture[str]) -> Any:
    parser = argparse.ArgumentParser()
    add_fit_commands(parser.add_subparsers())
    given = parser.parse_args([*words, "--json"])
    assert given.run(given) == 0
    return json.loads(capsys.readouterr().out)


def test_a_fine_tune_is_planned_on_what_torch_sees(team: Team, version: ModelVersion) -> None:
    dataset = Dataset(team=team, name="rows", row_count=100, size_bytes=100_000)
    options = {"sequence_len": 2048, "micro_batch_size": 1}
    whole = estimate_training(base=version, dataset=dataset, options=options, device=largest_device("gpu"))
    Device.objects.filter(kind="gpu").update(memory_bytes=round(23.58 * GIB))
    seen = estimate_training(base=version, dataset=dataset, options=options, device=largest_device("gpu"))
    assert whole is not None
    assert whole == seen


@pytest.mark.parametrize(
    ("name", "driver_mib", "gib"),
    [
        ("NVIDIA GeForce RTX 3090", 24_576, 23.58),
        ("NVIDIA L4", 23_034, 22.03),
        ("NVIDIA H100 80GB HBM3", 81_559, 79.18),
        ("NVIDIA GeForce RTX 4090", 23_000, 23_000 / 1024),  # never more than the driver has
        ("NVIDIA A100-SXM4-80GB MIG 1g.10gb", 9_728, 9.5),
        ("NVIDIA GeForce GTX 1080", 8_192, 8 * 0.983),
    ],
)
def test_what_torch_sees(name: str, driver_mib: int, gib: float) -> None:
    assert usable_of(name, driver_mib << 20) == round(gib * GIB)
