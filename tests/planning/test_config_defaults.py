"""What a config.json leaves out is filled from its class and said, or asked for; what no model has is refused."""

from __future__ import annotations

from typing import Any

import pytest

from apps.planning import fit_lines
from apps.planning.class_defaults import LAYERS_SAID_BY
from apps.planning.configs import shape_from_config
from apps.planning.kv_cache import kv_layout
from apps.planning.reference import reference_model
from apps.planning.shapes import CannotEstimate


def config(name: str, *without: str, **changed: Any) -> dict[str, Any]:
    return {key: value for key, value in reference_model(name).config.items() if key not in without} | changed


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("Qwen/Qwen3-0.6B", "head_dim"),  # 128, not 1024 / 16
        ("mistralai/Mistral-7B-Instruct-v0.3", "num_key_value_heads"),  # 8
        ("Qwen/Qwen3-30B-A3B", "num_key_value_heads"),
        ("Qwen/Qwen3-30B-A3B", "num_experts"),
        ("Qwen/Qwen3-30B-A3B", "moe_intermediate_size"),
        ("Qwen/Qwen3-30B-A3B", "num_experts_per_tok"),
        ("deepseek-ai/DeepSeek-V3", "kv_lora_rank"),
        ("deepseek-ai/DeepSeek-V3", "qk_rope_head_dim"),
        ("deepseek-ai/DeepSeek-V3", "q_lora_rank"),
        ("deepseek-ai/DeepSeek-V3", "n_shared_experts"),
        ("deepseek-ai/DeepSeek-V3", "first_k_dense_replace"),
        ("openai/gpt-oss-20b", "num_experts_per_tok"),
        ("meta-llama/Llama-3.1-8B-Instruct", "tie_word_embeddings"),
    ],
)
def test_the_classs_own_value_stands_in_and_is_said(name: str, field: str) -> None:
    whole, lacking = shape_from_config(config(name)), shape_from_config(config(name, field))
    assert whole.confidence == "high"
    assert lacking.confidence == "medium"
    assert any(f"leaves out {field}" in note for note in lacking.notes)
    assert lacking.parameters == whole.parameters
    assert kv_layout(lacking, value_bytes=2).token_bytes == kv_layout(whole, value_bytes=2).token_bytes


@pytest.mark.parametrize(
    "name", ["meta-llama/Llama-3.1-8B-Instruct", "Qwen/Qwen3-32B", "mistralai/Mistral-Nemo-Instruct-2407"]
)
def test_a_guess_at_heads_is_never_sure(name: str) -> None:
    assert shape_from_config(config(name, "num_key_value_heads")).confidence == "medium"
    assert (
        fit_lines.answer_line(
            {"config": config(name, "num_key_value_heads"), "gpu": "H100 80GB", "gpus": 2, "max_model_len": 4096}
        )["confidence"]
        != "high"
    )


def test_a_head_size_that_may_be_wrong_is_said() -> None:
    """Mistral Nemo: 5120 / 32 heads = 160, but its heads have 128."""
    shape = shape_from_config(config("mistralai/Mistral-Nemo-Instruct-2407", "head_dim"))
    assert (shape.head_dim, shape.confidence) == (160, "medium")


def test_a_null_that_is_written_stands_for_itself() -> None:
    """DeepSeek-V2-Lite projects its queries in one step: 15.7 billion parameters."""
    lite = reference_model("deepseek-ai/DeepSeek-V2-Lite").config
    assert shape_from_config(lite).parameters == pytest.approx(15.7e9, rel=0.005)
    assert shape_from_config({**lite, "q_lora_rank": 1536}).parameters != shape_from_config(lite).parameters


@pytest.mark.parametrize(
    ("name", "without", "message"),
    [
        ("facebook/opt-125m", "max_position_embeddings", "lacks max_position_embeddings"),
        ("Qwen/Qwen3-32B", "vocab_size", "lacks vocab_size"),
    ],
)
def test_what_no_class_knows_is_asked_for(name: str, without: str, message: str) -> None:
    with pytest.raises(CannotEstimate, match=message):
        shape_from_config(config(name, without))


@pytest.mark.parametrize("family", sorted(LAYERS_SAID_BY))
def test_which_layers_keep_a_state_is_never_guessed(family: str) -> None:
    with pytest.raises(CannotEstimate, match="says what each layer"):
        shape_from_config(config("Qwen/Qwen3-32B", model_type=family))


@pytest.mark.parametrize(
    ("lie", "message"),
    [
        ({"head_dim": 1}, "head_dim = 1, which no model has; it must be from 8"),
        ({"vocab_size": 10**9}, "vocab_size = 1,000,000,000, which no model has"),
        ({"num_hidden_layers": 10**6}, "num_hidden_layers = 1,000,000"),
        ({"hidden_size": 4}, "hidden_size = 4, which no model has"),
        ({"hidden_size": -4096}, "hidden_size = -4,096"),
        ({"intermediate_size": 10**6}, "intermediate_size must be 262,144 or less"),
        ({"num_attention_heads": 32.5}, "num_attention_heads = 32.5; it must be a whole number"),
        ({"num_attention_heads": "32"}, "num_attention_heads = '32'; it must be a whole number"),
        ({"num_attention_heads": 33}, "does not divide hidden_size"),
        ({"num_key_value_heads": 64}, "num_key_value_heads = 64, which does not divide"),
        ({"num_key_value_heads": 0}, "num_key_value_heads = 0"),
        ({"head_dim": 2048}, "together 65,536"),
        ({"head_dim": 8}, "together 256; beside hidden_size = 4,096 they must come to 512"),
        ({"max_position_embeddings": 10**9}, "max_position_embeddings = 1,000,000,000"),
        ({"num_experts": 100_000, "num_experts_per_tok": 8, "moe_intermediate_size": 64}, "num_experts = 100,000"),
        ({"num_experts": 8, "num_experts_per_tok": 9, "moe_intermediate_size": 64}, "num_experts_per_tok = 9"),
        ({"num_experts": 8000, "num_experts_per_tok": 8, "moe_intermediate_size": 14_336}, "adds up to"),
    ],
)  # fmt: skip
def test_sizes_that_no_model_has_are_refused_by_name(lie: dict[str, Any], message: str) -> None:
    own = {key: value for key, value in config("meta-llama/Llama-3.1-8B-Instruct").items() if key != "head_dim"}
    with pytest.raises(CannotEstimate, match=message):
        shape_from_config({**own, **lie})
