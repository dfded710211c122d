"""Speeds and times: ranges in order, and what must hold whatever the model is."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from apps.planning.configs import shape_from_config
from apps.planning.durations import Duration
from apps.planning.fit_lines import answer_line
from apps.planning.gpu_types import gpu_type_of
from apps.planning.loading import download_duration, load_duration
from apps.planning.reference import reference_model
from apps.planning.serving_plan import ServingPlan
from apps.planning.speeds import ServingSpeed, serving_speed


def speed(
    model: str, gpu: str = "H100 80GB", *, precision: str = "bf16", requests: int = 1, prompt: int = 1024
) -> ServingSpeed:
    plan = ServingPlan(shape_from_config(reference_model(model).config), precision=precision)
    kind = gpu_type_of(gpu)
    assert kind
    found = serving_speed(plan, kind, requests=requests, prompt_tokens=prompt)
    assert found
    return found


def test_one_stream_cannot_read_faster_than_memory() -> None:
    """16.06 GB of weights on 3.35 TB/s: at most 209 tokens/s, and the range stays below."""
    decode = speed("Llama-3.1-8B").decode
    assert decode[0] < decode[1] < decode[2] < 3.35e12 / 16.06e9


def test_fewer_bits_and_more_bandwidth_are_faster() -> None:
    assert speed("Llama-3.1-8B", precision="int4-awq").decode[1] > speed("Llama-3.1-8B", precision="fp8").decode[1]
    on = [speed("Llama-3.1-8B", gpu).decode[1] for gpu in ("L4", "H100 80GB", "H200")]
    assert on == sorted(on)


def test_experts_are_read_as_far_as_they_are_met() -> None:
    dense, sparse = speed("Qwen3-32B"), speed("Qwen3-30B-A3B")
    assert sparse.decode[1] > 4 * dense.decode[1]
    many = speed("Qwen3-30B-A3B", requests=64)
    assert sparse.output[1] < many.output[1] < 64 * sparse.output[1]


def test_a_longer_prompt_is_read_longer() -> None:
    first = [speed("Llama-3.1-8B", prompt=tokens).first_token_seconds for tokens in (512, 4096, 32_768)]
    assert [each[1] for each in first] == sorted(each[1] for each in first)
    assert all(low < middle < high for low, middle, high in first)


@pytest.mark.parametrize("estimate", [download_duration, load_duration])
def test_times_are_ranges_that_grow_with_the_size(estimate: Callable[[int], Duration]) -> None:
    small, large = (estimate(size) for size in (10**9, 10**11))
    assert small.seconds_low < small.seconds < small.seconds_high
    assert small.seconds < large.seconds
    assert small.basis == "formula"


def test_logged_loads_are_within_the_range() -> None:
    """61.3 GiB in 228 s (vLLM 0.25 on an H100), 57 GiB in 559 s (vllm-project/vllm #17469)."""
    for gib, seconds in ((61.29, 227.6), (57.0, 558.9)):
        took = load_duration(round(gib * 2**30))
        assert took.seconds_low < seconds < took.seconds_high


def test_llama_cpp_starts_sooner_than_an_engine_that_compiles() -> None:
    size = 5 * 10**9
    assert load_duration(size, "llama-cpp").seconds < load_duration(size, "vllm").seconds
    asked = {"model_id": "Qwen/Qwen3-32B", "gpu": "H100 80GB"}
    assert (
        answer_line(asked | {"precision": "Q4_K_M"})["load_s"]
        < answer_line(asked | {"precision": "awq int4"})["load_s"]
    )


def decode(**changes: object) -> float:
    asked = {"model_id": "Qwen/Qwen3-8B", "gpu": "RTX 3090", "max_model_len": 8192}
    return float(answer_line({**asked, **changes})["decode_tokens_per_s"])


@pytest.mark.parametrize("gpu", ["RTX 3090", "RTX 4090", "L4", "H100 80GB"])
def test_a_gguf_step_reads_the_bytes_of_the_file(gpu: str) -> None:
    """Q4_K_M has 4.9 bits a weight: more than twice as fast as 16 bits, and as fast as its own size says."""
    assert decode(gpu=gpu, precision="Q4_K_M") > 2 * decode(gpu=gpu, precision="bf16")
    assert decode(gpu=gpu, precision="Q4_K_M") > decode(gpu=gpu, precision="Q8_0")
    assert decode(gpu=gpu, precision="Q4_K_M", weights_bytes=8 * 10**9) < decode(gpu=gpu, precision="Q4_K_M")


def test_weight_files_are_read_at_their_own_size() -> None:
    assert decode(weights_bytes=8 * 10**9) > 1.5 * decode()


def test_a_narrow_cache_is_read_sooner() -> None:
    plan = ServingPlan(shape_from_config(reference_model("Qwen/Qwen3-8B").config))
    narrow = ServingPlan(plan.shape, kv_cache_dtype="fp8")
    kind = gpu_type_of("H100 80GB")
    assert kind
    wide_step, narrow_step = (serving_speed(each, kind, requests=64, prompt_tokens=8192) for each in (plan, narrow))
    assert wide_step
    assert narrow_step
    assert narrow_step.decode[1] > 1.4 * wide_step.decode[1]


def test_llama_cpp_reads_one_gpu_after_the_other() -> None:
    one, two = (decode(precision="Q4_K_M", gpus=count) for count in (1, 2))
    assert one == two
    assert decode(precision="bf16", gpus=2) > 1.4 * decode(precision="bf16", gpus=1)
