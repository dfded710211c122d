"""How devices share a fine-tune, the reference model of DPO, and what an API would ask instead."""

from __future__ import annotations

import json
from typing import Any

import pytest

from apps.planning import train_lines
from apps.planning.api_prices import API_PRICES, api_costs
from apps.planning.serving_plan import Memory
from apps.planning.shapes import CannotEstimate
from apps.planning.training import TrainingPlan, training_fit
from apps.planning.training_methods import Sharding, read_sharding, sharding_asked
from stackweb.cli import main
from tests.planning.test_memory import LLAMA

GIB = 2**30
H100 = Memory("gpu", round(79.2 * GIB), "NVIDIA H100 80GB HBM3")


def _kept(sharding: Sharding | None, **changed: Any) -> tuple[int, int]:
    plan = TrainingPlan(LLAMA, "full", optimizer="adamw-fp32", devices=8, sharding=sharding, **changed)
    fit = training_fit(plan, H100)
    return fit.weights_bytes, fit.optimizer_bytes


def test_each_stage_splits_one_part_more() -> None:
    """ZeRO, arXiv 1910.02054, section 5: 2 bytes of weights, here 4 of gradients and 12 of states a parameter."""
    count = LLAMA.parameters
    assert _kept("ddp") == (2 * count, 16 * count)
    assert _kept("zero1") == (2 * count, round(4 * count + 12 * count / 8))
    assert _kept("zero2") == (2 * count, 2 * count)
    weights, states = _kept("zero3")
    assert states == 2 * count
    assert 2 * count / 8 < weights < 2 * count
    assert _kept(None) == _kept("zero3")


def test_adapters_copy_the_base_unless_it_is_split() -> None:
    copied, split = (training_fit(TrainingPlan(LLAMA, devices=8, sharding=each), H100) for each in ("zero2", "zero3"))
    assert copied.weights_bytes > 3 * split.weights_bytes
    assert copied.optimizer_bytes > split.optimizer_bytes


@pytest.mark.parametrize(
    ("text", "sharding"),
    [
        ("full zero2", "zero2"), ("DeepSpeed ZeRO-1", "zero1"), ("zero stage 3", "zero3"), ("fsdp", "zero3"),
        ("full (DDP)", "ddp"), ("fsdp shard_grad_op", "zero2"), ("lora r16", None), ("", None),
        ("ds_z3_config", "zero3"), ("HSDP", "zero3"), ("none", "ddp"),
    ],
)  # fmt: skip
def test_sharding_from_free_text(text: str, sharding: Sharding | None) -> None:
    assert read_sharding(text) == sharding


def test_sharding_that_says_nothing_is_refused() -> None:
    assert sharding_asked("") is None
    with pytest.raises(CannotEstimate, match="sharding is 'bananas'; use ddp, zero1"):
        sharding_asked("bananas")


def test_only_full_dpo_keeps_a_second_model() -> None:
    """arXiv 2305.18290: the reference is the untrained model, or the adapter off. ORPO (2403.07691) has none."""
    dpo, orpo = (training_fit(TrainingPlan(LLAMA, "full", preference=each), H100) for each in ("dpo", "orpo"))
    assert dpo.weights_bytes - orpo.weights_bytes == pytest.approx(2 * LLAMA.parameters, rel=0.01)
    assert dpo.total_bytes - orpo.total_bytes == dpo.weights_bytes - orpo.weights_bytes
    assert any("untrained model" in note for note in dpo.notes)
    lora = [training_fit(TrainingPlan(LLAMA, preference=each), H100).weights_bytes for each in ("dpo", "orpo")]
    assert lora[0] == lora[1]


def test_an_api_bills_every_pass_over_the_tokens() -> None:
    (cost,) = api_costs(2_000_000, 3)
    assert (cost.price.model, cost.usd) == ("gpt-4o", 150.0)
    assert all(each.date and each.source.startswith("https://") for each in API_PRICES)


def test_a_line_shows_api_prices_and_says_where_no_cost_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    asked = {"model_id": "Llama-3.1-8B", "gpu": "RTX 4090", "method": "qlora", "dataset_tokens": 10**6, "epochs": 2}
    answer = train_lines.answer_line(asked)
    assert answer["api_prices"][0]["usd"] == 50.0
    assert answer["cost_usd"] is None
    assert any("No list price of RTX 4090" in note for note in answer["notes"])
    words = ["fit-train", "--model", "Llama-3.1-8B", "--gpu", "A100 80GB", "--gpus", "8", "--method", "full", "--json"]
    peaks = []
    for sharding in ("ddp", "zero1", "zero2", "zero3"):
        assert main([*words, "--sharding", sharding]) == 0
        printed = json.loads(capsys.readouterr().out)
        assert printed["cost_usd"] is not None
        peaks.append(printed["peak_gib_per_gpu"]["mid"])
    assert peaks == sorted(set(peaks), reverse=True)
