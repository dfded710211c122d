"""Training memory against measured peaks; time and cost by their arithmetic."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, Literal

import pytest

from apps.planning.durations import evaluation_duration
from apps.planning.serving_plan import Memory
from apps.planning.shapes import CannotEstimate
from apps.planning.training import TrainingPlan, lora_parameters, training_fit
from apps.planning.training_methods import read_method, read_optimizer
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
    """meta-pytorch/torchtune README: Llama 3.1 8B, batch 2, 2,048 tokens, one RTX 4090."""
    plan = TrainingPlan(LLAMA, method, engine="torchtune", lora_rank=8, micro_batch=2)
    fit = training_fit(plan, Memory("gpu", 24 * GIB, "RTX 4090"))
    assert fit.total_bytes_low <= peak_gib * GIB <= fit.total_bytes_high
    whole = training_fit(replace(plan, engine="axolotl"), Memory("gpu", 24 * GIB, "RTX 4090"))
    assert whole.activation_bytes - fit.activation_bytes > 2 * GIB


def test_full_training_in_mixed_precision_costs_eighteen_bytes_a_parameter() -> None:
    """ZeRO, arXiv 1910.02054: 2 weights, 4 gradients, 12 states."""
    fit = training_fit(TrainingPlan(LLAMA, "full", optimizer="adamw-fp32"), H100)
    assert fit.weights_bytes + fit.optimizer_bytes == 18 * LLAMA.parameters
    assert (fit.verdict, fit.fits, fit.trainable_parameters) == ("too_big", False, LLAMA.parameters)
    assert fit.reason.startswith("Short by ")


def test_more_devices_share_a_full_run_and_copy_an_adapters_base() -> None:
    full = [training_fit(TrainingPlan(LLAMA, "full", devices=count), H100).total_bytes for count in (1, 2, 4, 8)]
    assert full == sorted(full, reverse=True)
    assert full[3] < full[0] / 3
    lora = [training_fit(TrainingPlan(LLAMA, devices=count), H100).total_bytes for count in (1, 8)]
    assert lora[0] == lora[1]


@pytest.mark.parametrize(
    "step", [{"micro_batch": 2}, {"sequence_tokens": 4096}, {"lora_rank": 64}, {"preference": "dpo"}]
)
def test_more_work_never_takes_less_memory(step: dict[str, Any]) -> None:
    for method in ("lora", "qlora", "full"):
        plan = TrainingPlan(LLAMA, method, engine="torchtune")  # type: ignore[arg-type]
        assert training_fit(replace(plan, **step), H100).total_bytes >= training_fit(plan, H100).total_bytes


def test_a_stated_range_is_no_wider_than_a_quarter() -> None:
    for method in ("lora", "qlora", "full"):
        for tokens in (512, 8192, 65_536):
            fit = training_fit(TrainingPlan(SMOL, method, sequence_tokens=tokens), H100)  # type: ignore[arg-type]
            assert 0.75 * fit.total_bytes <= fit.total_bytes_low <= fit.total_bytes
            assert fit.total_bytes <= fit.total_bytes_high <= 1.25 * fit.total_bytes


def test_checkpointing_saves_memory() -> None:
    kept = TrainingPlan(LLAMA, gradient_checkpointing=False)
    again = replace(kept, gradient_checkpointing=True)
    assert training_fit(kept, H100).activation_bytes > 2 * training_fit(again, H100).activation_bytes


@pytest.mark.parametrize(
    ("text", "name", "bits", "preference"),
    [
        ("QLoRA (nf4)", "qlora", 4, "none"),
        ("qlora 8-bit", "qlora", 8, "none"),
        ("LoRA DPO r16 bs1", "lora", 4, "dpo"),
        ("full finetune", "full", 4, "none"),
        ("orpo", "lora", 4, "orpo"),
        ("", "lora", 4, "none"),
    ],
)
def test_methods_from_free_text(text: str, name: str, bits: int, preference: str) -> None:
    found = read_method(text)
    assert (found.name, found.bits, found.preference) == (name, bits, preference)


def test_what_is_not_known_is_refused_by_name() -> None:
    with pytest.raises(CannotEstimate, match="method is 'magic'"):
        read_method("magic")
    with pytest.raises(CannotEstimate, match="optimizer is 'quantum'"):
        read_optimizer("quantum", "axolotl", "lora")
    assert read_optimizer("paged_adamw_8bit", "", "full") == "paged-adamw-8bit"
    assert read_optimizer("", "torchtune", "full") == "paged-adamw-8bit"


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
    plan = TrainingPlan(SMOL, tokens=36_000, epochs=2, measured_tokens_per_second=20, devices=2)
    fit = training_fit(replace(plan, price_per_device_hour=3.0), H100)
    assert fit.duration is not None
    assert (fit.duration.basis, fit.duration.seconds) == ("measured", 3660)
    assert (fit.cost, fit.cost_low, fit.cost_high) == pytest.approx(
        tuple(s / 3600 * 6 for s in (3660, 30 + 3600 / 1.3, 120 + 3600 * 1.3))
    )


def test_unknown_gpu_has_no_time_and_no_cost() -> None:
    fit = training_fit(TrainingPlan(SMOL, tokens=1000, price_per_device_hour=1), Memory("gpu", 24 * GIB, "X1"))
    assert (fit.verdict, fit.duration, fit.cost) == ("fits", None, None)


def test_only_the_experts_a_token_meets_count_as_work() -> None:
    moe = SHAPES["Qwen/Qwen3-235B-A22B"]
    fit = training_fit(TrainingPlan(moe, "qlora", tokens=10**9), H100)
    dense = training_fit(TrainingPlan(SHAPES["Qwen/Qwen2.5-32B-Instruct"], "qlora", tokens=10**9), H100)
    assert fit.duration is not None
    assert dense.duration is not None
    assert fit.duration.seconds < dense.duration.seconds
    assert fit.weights_bytes > dense.weights_bytes


def test_evaluation_duration_adds_prompts_outputs_and_start() -> None:
    ask = partial(evaluation_duration, items=50, prompt_tokens=200, output_tokens=16)
    rough = ask(prompt_tokens_per_second=100, output_tokens_per_second=10)
    known = ask(prompt_tokens_per_second=100, output_tokens_per_second=10, basis="measured")
    assert rough.seconds == known.seconds == 30 + 100 + 80
    assert rough.seconds_low < known.seconds_low < known.seconds < known.seconds_high < rough.seconds_high
    with pytest.raises(ValueError, match="output_tokens_per_second is 0"):
        ask(prompt_tokens_per_second=1, output_tokens_per_second=0)
