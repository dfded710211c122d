"""What must hold of every fit, whatever the model, the GPU and the engine: more is never less. Seeded at random.

Batch and sequences are fixed: vLLM itself plans for more of both from 70 GiB on, which can cost a fit.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from apps.planning.fit_lines import answer_line

MODELS = ("Qwen/Qwen3-8B", "Llama-3.3-70B", "microsoft/phi-4", "google/gemma-3-27b-it", "Qwen/Qwen3-30B-A3B",
          "deepseek-ai/DeepSeek-V3", "openai/gpt-oss-20b", "Qwen/Qwen2.5-7B-Instruct")  # fmt: skip
PRECISIONS = ("fp32", "bf16", "fp8", "int4-awq")  # each smaller than the one before
FILES = ("F16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M")
VERSIONS = ("", "0.4.1", "0.6.4", "0.9", "0.11.0", "0.19.0", "0.25.1")
on_each_model = pytest.mark.parametrize("model", MODELS)
ROUNDS = 40


def answer(**asked: Any) -> dict[str, Any]:
    return answer_line({"max_model_len": 4096, "max_num_seqs": 64, "max_num_batched_tokens": 2048} | asked)


def on(gib: float) -> dict[str, Any]:
    return {"gpu": f"{gib:.3f}GB class", "gpu_memory_gib": gib}


def drawn(dice: random.Random, model: str) -> dict[str, Any]:
    asked = {"model_id": model, "precision": dice.choice((*PRECISIONS, "F16 gguf", *FILES[1:]))}
    return asked | {"engine_version": dice.choice(VERSIONS), "max_model_len": dice.randint(1, 40_960)}


@on_each_model
def test_more_memory_never_turns_a_fit_into_none(model: str) -> None:
    dice = random.Random(model)
    for _ in range(ROUNDS):
        asked, gib = drawn(dice, model), dice.uniform(1, 180)
        small, large = answer(**asked, **on(gib)), answer(**asked, **on(gib + dice.uniform(0, 60)))
        assert small["fits"] <= large["fits"], asked
        for key in ("kv_tokens", "max_concurrency", "max_model_len_possible", "kv_available_gib_per_gpu"):
            assert small[key] <= large[key], (key, asked)


@on_each_model
@pytest.mark.parametrize("gpus", [1, 2, 4, 6, 8])
@pytest.mark.parametrize("ladder", [PRECISIONS, FILES], ids=["precisions", "files"])
def test_fewer_bits_never_need_more_weights(model: str, gpus: int, ladder: tuple[str, ...]) -> None:
    files = " gguf" if ladder is FILES else ""
    answers = [answer(model_id=model, gpus=gpus, precision=each + files, **on(80)) for each in ladder]
    weights = [each["weights_gib_per_gpu"] for each in answers]
    assert weights == sorted(weights, reverse=True)


@on_each_model
def test_a_longer_context_never_raises_concurrency(model: str) -> None:
    dice = random.Random(model)
    for _ in range(ROUNDS):
        asked, gib = drawn(dice, model), dice.uniform(4, 180)
        longer = asked["max_model_len"] + dice.randint(0, 4096)
        short, long = answer(**asked, **on(gib)), answer(**asked | {"max_model_len": longer}, **on(gib))
        assert short["max_concurrency"] >= long["max_concurrency"], (asked, longer, gib)
        assert short["fits"] >= long["fits"], (asked, longer, gib)


@on_each_model
@pytest.mark.parametrize("precision", ["bf16", "Q4_K_M"])
def test_all_gpus_are_split_over(model: str, precision: str) -> None:
    for gpus in range(1, 25):
        found = answer(model_id=model, gpus=gpus, precision=precision, **on(80))
        assert found["tensor_parallel"] * found["pipeline_parallel"] == gpus


@on_each_model
def test_the_figures_of_one_answer_agree(model: str) -> None:
    """A middle estimate lies in its range; a fit lacks nothing and holds one context."""
    dice = random.Random(model)
    for _ in range(ROUNDS):
        asked, gib = drawn(dice, model), dice.uniform(1, 180)
        found = answer(**asked, **on(gib))
        for key in ("overhead_gib", "kv_available_gib_per_gpu"):
            assert found[f"{key}_low"] <= found[key] <= found[f"{key}_high"], (key, asked, gib)
        assert (found["reason"] is None) == found["fits"], (asked, gib)
        if found["fits"]:
            assert found["missing_gib_per_gpu"] == 0, (asked, gib)
            assert found["max_concurrency"] >= 1, (asked, gib)
