"""What a plan counts beside the weights, and what it refuses before a GPU is asked."""

from __future__ import annotations

import pytest

from apps.catalog.fit import best_fit, device_classes
from apps.serving.plans import plan_serving
from tests.factories import GIB, make_adapter, make_host, make_stored_version, make_team

pytestmark = pytest.mark.django_db


def test_an_adapter_is_planned_with_the_slot_that_the_engine_sets_aside() -> None:
    base = make_stored_version(make_team(), host=make_host(gpus=1))
    adapter = make_adapter(base)
    sizes = []
    for version, rank in ((base, 256), (adapter, 16), (adapter, 256)):
        plan = plan_serving(version=version, engine="vllm", options={"max_lora_rank": rank}, name="it")
        assert plan.fit is not None
        sizes.append(plan.fit.weights_bytes)
    assert sizes[0] < sizes[1] < sizes[2]
    assert sizes[2] - sizes[0] == pytest.approx(16 * (sizes[1] - sizes[0]), rel=0.001)


def test_what_the_gpu_does_not_run_is_no_plan_and_no_verdict() -> None:
    host = make_host(gpus=1)
    host.devices.filter(kind="gpu").update(name="Tesla V100-SXM2-32GB", memory_bytes=32 * GIB)
    team, (device,) = make_team(), device_classes()
    awq = make_stored_version(team, name="awq", host=host, precision="int4-awq")
    plain = make_stored_version(team, name="plain", host=host)
    plan = plan_serving(version=awq, engine="vllm", options={}, name="it")
    assert (plan.fit, plan.why_not) == (None, best_fit(awq, device).why_not)
    assert plan.why_not.startswith("vLLM does not run int4-awq on V100 32 GB")
    assert best_fit(awq, device).cell == "–"
    assert best_fit(plain, device).fits  # bf16 is loaded as fp16
    fp8 = plan_serving(version=plain, engine="vllm", options={"quantization": "fp8"}, name="it")
    assert "does not run fp8" in fp8.why_not
