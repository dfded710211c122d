"""Training memory against measured peaks; time and cost by their arithmetic."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Literal

import pytest

from apps.planning.durations import evaluation_duration
from apps.planning.memory import Memory
from apps.planning.shapes import CannotEstimate
from apps.planning.training import (
    TrainingPlan,
    flops_per_token,
    lora_parameters,
    training_fit,
)
from tests.planning.test_memory import LLAMA, SHAPES, SMOL

GIB = 2**30
H100 = Memory("gpu", round(79.2 * GIB), "NVIDIA H100 80GB HBM3")


def test_adapter_parameters_of_a_known_case() -> None:
    """Rank 16 on all seven matrices of Llama 3.1 8B: the 41,943,040 that peft prints."""
    assert lora_parameters(LLAMA, 16) == 41_943_040


def test_range_holds_the_peak_measured_on_cpu() -> None:
    """Own run of Axolotl: rank 8, float32, 1.95 GB resident at its peak."""
    plan = TrainingPlan(SMOL, precision="fp32", lora_rank=8, sequence_tokens=512)
    fit = training_fit(plan, Memory("cpu", 8 * GIB))
    assert fit.total_bytes_low < fit.total_bytes < fit.total_bytes_high
    assert fit.total_bytes == pytest.approx(1.95e9, rel=0.05)


@pytest.mark.parametrize(("method", "peak_gib"), [("lora", 16.2), ("qlora", 7.4)])
def test_range_holds_the_peak_measured_on_a_gpu(method: Literal["lora", "qlora"], peak_gib: float) -> None:
    """meta-pytorch/torchtune README: Llama 3.1 8B, batch 2, 2,048 tokens, chunked loss, one RTX 4090.

    The figure is torch's own, so the CUDA context (at least 0.5 GB) is left out of the range.
    """
    plan = TrainingPlan(LLAMA, method, lora_rank=8, micro_batch=2, chunked_loss=True)
    fit = training_fit(plan, Memory("gpu", 24 * GIB, "RTX 4090"))
    assert fit.total_bytes_low - 0.5e9 <= peak_gib * GIB <= fit.total_bytes_high
    whole = training_fit(replace(plan, chunked_loss=False), Memory("gpu", 24 * GIB, "RTX 4090"))
    assert whole.activation_bytes - fit.activation_bytes > 2 * GIB


def test_full_training_costs_sixteen_bytes_a_parameter() -> None:
    fit = training_fit(TrainingPlan(LLAMA, "full"), H100)
    assert fit.weights_bytes + fit.optimizer_bytes == 16 * LLAMA.parameters
    assert (fit.verdict, fit.fits, fit.trainable_parameters) == ("too_big", False, LLAMA.parameters)
    assert fit.reason.startswith("Short by ")


def test_checkpointing_saves_memory_and_costs_a_third_more_work() -> None:
    kept = TrainingPlan(LLAMA, gradient_checkpointing=False)
    again = replace(kept, gradient_checkpointing=True)
    assert training_fit(kept, H100).activation_bytes > 2 * training_fit(again, H100).activation_bytes
    assert flops_per_token(again) == pytest.approx(flops_per_token(kept) * 4 / 3)


def test_measured_training_speeds_lie_within_the_formula_range() -> None:
    """mosaicml/llm-foundry, full training at 2,048 tokens: 7B on H100 and A100, tokens/s a GPU."""
    shape = SHAPES["meta-llama/Llama-2-7b-chat-hf"]
    plan = TrainingPlan(shape, "full", gradient_checkpointing=False, tokens=10**9)
    for name, speed in (("H100 80GB", 10_643), ("A100 80GB", 4_641)):
        duration = training_fit(plan, Memory("gpu", 80 * GIB, name)).duration
        assert duration is not None
        assert duration.seconds_low < 10**9 / speed * 1.1
        assert duration.seconds_high > 10**9 / speed


def test_measured_speed_and_price_decide_time_and_cost() -> None:
    plan = TrainingPlan(SMOL, tokens=36_000, epochs=2, tokens_per_second=20, devices=2, price_per_device_hour=3.0)
    fit = training_fit(plan, H100)
    assert fit.duration is not None
    assert (fit.duration.basis, fit.duration.seconds) == ("measured", 3660)
    assert (fit.cost, fit.cost_low, fit.cost_high) == pytest.approx(
        tuple(s / 3600 * 6 for s in (3660, 30 + 3600 / 1.3, 120 + 3600 * 1.3))
    )


def test_unknown_gpu_has_no_time_and_no_cost() -> None:
    fit = training_fit(TrainingPlan(SMOL, tokens=1000, price_per_device_hour=1), Memory("gpu", 24 * GIB, "X1"))
    assert (fit.verdict, fit.duration, fit.cost) == ("fits", None, None)


def test_architecture_without_a_count_is_refused() -> None:
    with pytest.raises(CannotEstimate, match="not estimated yet"):
        training_fit(TrainingPlan(SHAPES["Qwen/Qwen3-235B-A22B"]), H100)


def test_evaluation_duration_adds_prompts_outputs_and_start() -> None:
    ask = partial(evaluation_duration, items=50, prompt_tokens=200, output_tokens=16)
    rough = ask(prompt_tokens_per_second=100, output_tokens_per_second=10)
    known = ask(prompt_tokens_per_second=100, output_tokens_per_second=10, basis="measured")
    assert rough.seconds == known.seconds == 30 + 100 + 80
    assert rough.seconds_low < known.seconds_low < known.seconds < known.seconds_high < rough.seconds_high
    with pytest.raises(ValueError, match="output_tokens_per_second is 0"):
        ask(prompt_tokens_per_second=1, output_tokens_per_second=0)
