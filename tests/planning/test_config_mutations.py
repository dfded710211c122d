"""Real configs with fields taken away, blown up, negated or mistyped: answers in words, never a sure wrong one."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from apps.planning import fit_lines, train_lines
from apps.planning.reference import reference_model, reference_names
from apps.planning.shapes import CannotEstimate

GPU = {"gpu": "H100 80GB", "max_model_len": 4096}
JUNK: list[Any] = [
    None, -1, 0, 1, 3, 4.0, 10**6, 2**63, 2**70, 10**400, 1e300, -0.5, 7.5, float("nan"), float("inf"), True, False, "",
    "32", "x" * 5000, "M*",
    [], [[]], [1] * 999, ["full_attention"] * 3, {}, {"a": {}}, {"quant_method": "gptq", "bits": -4},
]  # fmt: skip
# Fields on which weights or cache depend; without one the answer must be the same, less sure, or a refusal.
NEEDED = {
    "num_hidden_layers", "hidden_size", "num_attention_heads", "num_key_value_heads", "head_dim", "intermediate_size",
    "vocab_size", "kv_lora_rank", "q_lora_rank", "qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim", "num_experts",
    "moe_intermediate_size", "n_shared_experts", "first_k_dense_replace",
    "shared_expert_intermediate_size", "layer_types", "sliding_window", "full_attention_interval",
}  # fmt: skip
SIZES = ("weights_gib_per_gpu", "kv_bytes_per_token_per_gpu")


def _answer(config: dict[str, Any]) -> dict[str, Any] | None:
    """None for a refusal in the planner's own words; anything else that is raised fails the test."""
    try:
        answer = fit_lines.answer_line({**GPU, "gpus": 1, "config": config})
    except CannotEstimate:
        return None
    json.dumps(answer, allow_nan=False)
    return answer


def _levels(config: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each field, with the mapping that holds it."""
    for key, value in config.items():
        yield key, config
        if isinstance(value, dict):
            yield from ((inner, value) for inner in value)


def _copied(name: str) -> dict[str, Any]:
    copied: dict[str, Any] = json.loads(json.dumps(reference_model(name).config))
    return copied


@pytest.mark.parametrize("name", reference_names())
def test_a_missing_field_never_gives_a_sure_wrong_answer(name: str) -> None:
    whole = _answer(_copied(name))
    for field in {key for key, _ in _levels(_copied(name))} & NEEDED:
        config = _copied(name)
        for key, holder in list(_levels(config)):
            if key == field:
                del holder[key]
        answer = _answer(config)
        if answer and answer["confidence"] == "high":
            assert whole is not None
            assert {size: answer[size] for size in SIZES} == {size: whole[size] for size in SIZES}, field


def test_junk_in_any_field_is_answered_in_words() -> None:
    chance = random.Random(11)
    names = reference_names()
    answered = 0
    for _ in range(3000):
        config = _copied(chance.choice(names))
        for _ in range(chance.randint(1, 3)):
            key, holder = chance.choice(list(_levels(config)))
            holder[key] = chance.choice(JUNK)
        config |= {"quantization_config": chance.choice(JUNK)} if chance.random() < 0.2 else {}
        answered += _answer(config) is not None
    assert 300 < answered < 2800


def test_junk_in_a_line_is_answered_in_words() -> None:
    chance = random.Random(12)
    fields = (
        "model_id", "config", "gpu", "gpus", "gpu_memory_gib", "precision", "weights_bytes", "engine", "max_model_len",
        "tensor_parallel", "kv_cache_dtype", "method", "sharding", "optimizer", "seq_len", "epochs", "dataset_tokens",
    )  # fmt: skip
    for _ in range(2000):
        line = {**GPU, "model_id": "Qwen/Qwen3-8B"}
        for _ in range(chance.randint(1, 3)):
            line[chance.choice(fields)] = chance.choice(JUNK)
        for ask in (fit_lines.answer_line, train_lines.answer_line):
            try:
                json.dumps(ask(line), allow_nan=False, default=str)
            except CannotEstimate:
                continue
