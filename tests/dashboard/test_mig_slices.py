"""A MIG slice is planned as what it is: its own memory, its part of the speed and price, never joined to another."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from apps.accounts.models import Team
from apps.accounts.problems import Problem
from apps.catalog.fit import device_classes, fits_on
from apps.dashboard.plan_answers import fleet_gpus
from apps.fleet.models import Host
from apps.fleet.schemas import InventoryIn
from apps.fleet.services import record_inventory
from apps.planning.gpu_types import gpu_type
from apps.planning.memory import GIB
from apps.planning.reference import reference_model
from apps.serving.plans import plan_serving
from tests.factories import api_headers, make_host, make_stored_version, make_team, make_user

pytestmark = pytest.mark.django_db
A100 = "NVIDIA A100-SXM4-80GB"


@pytest.fixture
def team() -> Team:
    return make_team("Lab")


@pytest.fixture
def ask(client: Client, team: Team) -> Any:
    headers = api_headers(make_user("alice", team=team))
    return lambda body, plan="fit": client.post(f"/api/v1/plan/{plan}", body, "application/json", headers=headers)


@pytest.fixture(params=["newer worker", "older worker"])
def sliced(request: pytest.FixtureRequest) -> Host:
    """An A100 80GB that MIG cuts into two halves; older workers give them the whole GPU's name."""
    host = make_host("atlas")
    name = f"{A100} MIG 3g.40gb" if request.param == "newer worker" else A100
    slice_ = {"memory_bytes": 40_192 << 20, "driver": "580.95.05", "cuda": "13.0"}
    gpus = [
        {"index": 0, "uuid": "GPU-1", "name": A100, "is_split": True} | slice_ | {"memory_bytes": 81_920 << 20},
        *(
            {"index": index, "uuid": f"MIG-{index}", "name": name, "mig_profile": "3g.40gb"} | slice_
            for index in (1, 2)
        ),
    ]
    found = {"cpu": {}, "ram_bytes": 64 * GIB, "disk": {}, "gpus": gpus}
    record_inventory(host=host, inventory=InventoryIn.model_validate(found))
    return host


def test_a_class_of_slices_has_their_memory_and_speed_and_is_never_joined(sliced: Host, team: Team) -> None:
    (slices,) = device_classes()
    whole = gpu_type("a100-sxm-80")
    assert whole is not None
    assert slices.gpu_type is not None
    assert (slices.title, slices.short) == ("A100-SXM4-80GB MIG 3g.40gb", "A100 3g.40gb")
    assert (slices.memory_bytes, slices.most_on_one_host) == (40_192 << 20, 1)
    assert slices.gpu_type.bandwidth == whole.bandwidth / 2
    assert {gpu.gpu_type for gpu in sliced.devices.filter(kind="gpu")} == {"a100-sxm-80"}  # what is charged by sevenths
    version = make_stored_version(team, host=sliced, precision="bf16")
    version.facts = {"config": dict(reference_model("Qwen3-32B").config)}
    assert [(fit.count, fit.fits) for fit in fits_on(version, slices)] == [(1, False)]
    (named,) = fleet_gpus(None, None, 1)
    assert (named.count, named.kind) == (1, slices.gpu_type)
    with pytest.raises(Problem, match="MIG slices are not joined, so an endpoint can have one GPU here; you ask for 2"):
        plan_serving(version=version, engine="vllm", options={"tensor_parallel": 2}, name="big")


def test_rest_answers_a_slice_as_the_command_line_does(sliced: Host, ask: Any) -> None:
    model = {"model_id": "Llama-3.1-8B", "max_model_len": 4096}
    (here,) = ask(model).json()["items"]
    (named,) = ask(model | {"gpu": "A100 80GB MIG 3g.40gb", "gpu_memory_gib": 40_192 / 1024}).json()["items"]
    (whole,) = ask(model | {"gpu": "A100 80GB"}).json()["items"]
    assert here["gpu"] == f"{A100} MIG 3g.40gb"
    assert here["decode_tokens_per_s"] == named["decode_tokens_per_s"] < whole["decode_tokens_per_s"]
    (large,) = ask(model | {"model_id": "Qwen3-32B", "precision": "bf16"}).json()["items"]
    assert not large["fits"]
    assert "GPUs" not in (large["smallest_change"] or "")


def test_several_gpus_are_asked_of_whole_ones_alone(sliced: Host, ask: Any) -> None:
    two = {"model_id": "Llama-3.1-8B", "max_model_len": 4096, "gpus": 2}
    (error,) = ask(two).json()["errors"]
    assert (error["field"], error["value"]) == ("gpus", 2)
    assert "MIG slice" in error["message"]
    make_host("brio", gpus=2)
    assert [(row["gpu"], row["hosts"]) for row in ask(two).json()["items"]] == [("RTX 4090", ["brio"])]


def test_the_key_that_asks_for_several_is_named(sliced: Host, ask: Any) -> None:
    (error,) = ask({"model_id": "Llama-3.1-8B", "tensor_parallel": 2}).json()["errors"]
    assert (error["field"], error["value"]) == ("tensor_parallel", 2)


def test_a_fine_tune_on_several_gpus_is_planned_on_whole_ones(sliced: Host, ask: Any) -> None:
    make_host("brio", gpus=2)
    answer = ask({"model_id": "Llama-3.1-8B", "gpus": 2}, "finetune").json()
    assert answer["gpu"] == "RTX 4090"


def test_no_model_is_recommended_for_several_slices(sliced: Host, ask: Any) -> None:
    (error,) = ask({"gpu": "A100 80GB MIG 3g.40gb", "gpus": 2}, "model").json()["errors"]
    assert (error["field"], "slice" in error["message"]) == ("gpus", True)


@pytest.mark.parametrize("field", ["gpus", "tensor_parallel", "pipeline_parallel"])
def test_several_slices_for_one_model_are_refused(ask: Any, field: str) -> None:
    answer = ask({"model_id": "Llama-3.1-8B", "gpu": "A100 80GB MIG 3g.40gb", field: 2})
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["field"] == field
    assert "slice" in error["message"]


def test_a_slice_without_its_profile_is_not_taken_for_the_whole(ask: Any) -> None:
    answer = ask({"model_id": "Llama-3.1-8B", "gpu": "A100 80GB MIG"})
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["field"] == "gpu"
    assert "MIG 3g.40gb" in error["message"]
