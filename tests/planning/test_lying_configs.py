"""Configs that lie in ways of their own: the answer is a refusal by the field's name, or less than sure of itself."""

from __future__ import annotations

import time
from typing import Any

import pytest

from apps.planning.configs import shape_from_config
from apps.planning.fit_lines import answer_line
from apps.planning.reference import reference_model
from apps.planning.shapes import CannotEstimate

HUGE = 10**400  # json.loads reads it; no float holds it


def llama(**fields: Any) -> dict[str, Any]:
    return {**reference_model("Llama-3.1-8B").config, **fields}


def answer(config: dict[str, Any], **asked: Any) -> dict[str, Any]:
    return answer_line({"gpu": "H100 80GB", "max_model_len": 4096, "config": config, **asked})


def test_a_long_list_of_layers_takes_no_time() -> None:
    began = time.process_time()
    shape_from_config({**_jamba(), "num_hidden_layers": 5000, "attn_layer_indices": list(range(5000, 105_000))})
    assert time.process_time() - began < 1


def _jamba() -> dict[str, Any]:
    return {
        "model_type": "bamba", "hidden_size": 4096, "num_attention_heads": 32, "num_key_value_heads": 8,
        "intermediate_size": 14336, "vocab_size": 128_000, "max_position_embeddings": 262_144, "mamba_n_heads": 128,
        "mamba_d_head": 64, "mamba_d_state": 128, "num_hidden_layers": 32,
    }  # fmt: skip


@pytest.mark.parametrize("index", ["9", None, [9], 1.5])
def test_a_layer_without_a_number_is_refused(index: Any) -> None:
    with pytest.raises(CannotEstimate, match=r"attn_layer_indices with .* which is no layer's number"):
        shape_from_config({**_jamba(), "attn_layer_indices": [9, index]})


@pytest.mark.parametrize("original", [pytest.param(HUGE, id="huge"), -1, "32768", True])
def test_a_context_before_stretching_that_can_be_none_is_refused(original: Any) -> None:
    scaling = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": original}
    with pytest.raises(CannotEstimate, match="original_max_position_embeddings = "):
        shape_from_config(llama(rope_scaling=scaling))


def test_a_context_before_stretching_may_be_a_float() -> None:
    scaling = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768.0}
    assert shape_from_config(llama(rope_scaling=scaling)).max_context == 131_072


def dbrx(**feed: Any) -> dict[str, Any]:
    return {
        "model_type": "dbrx", "d_model": 6144, "n_heads": 48, "n_layers": 40, "vocab_size": 100_352,
        "max_seq_len": 32_768, "attn_config": {"kv_n_heads": 8},
        "ffn_config": {"ffn_hidden_size": 10_752, "moe_num_experts": 16, "moe_top_k": 4, **feed},
    }  # fmt: skip


@pytest.mark.parametrize("key", ["ffn_hidden_size", "moe_num_experts", "moe_top_k"])
@pytest.mark.parametrize("value", [pytest.param(HUGE, id="huge"), -5, "many"])
def test_a_size_within_ffn_config_is_refused_by_name(key: str, value: Any) -> None:
    with pytest.raises(CannotEstimate, match=rf"config.json has ffn_config\.{key} = "):
        shape_from_config(dbrx(**{key: value}))


def test_floats_within_ffn_config_count() -> None:
    assert shape_from_config(dbrx(ffn_hidden_size=10_752.0)) == shape_from_config(dbrx())


def test_heads_within_attn_config_are_refused_by_name() -> None:
    with pytest.raises(CannotEstimate, match=r"config.json has attn_config\.kv_n_heads = "):
        shape_from_config(dbrx() | {"attn_config": {"kv_n_heads": HUGE}})


@pytest.mark.parametrize("name", ["hidden_size", "num_attention_heads", "vocab_size"])
def test_bounds_hold_for_floats_too(name: str) -> None:
    with pytest.raises(CannotEstimate, match=f"config.json has {name} = 4|{name} = 1,000,000,000"):
        shape_from_config(llama(**{name: 4.0 if name != "num_attention_heads" else 1e9}))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ffn_config", {"ffn_hidden_size": 64}), ("attn_config", {"kv_n_heads": 1}),
        ("hybrid_override_pattern", "M" * 31 + "*"), ("layers_block_type", ["mamba"] * 31 + ["mlp"]),
    ],
)  # fmt: skip
def test_what_the_family_does_not_read_changes_no_size_and_is_told(key: str, value: Any) -> None:
    plain, odd = answer(llama()), answer(llama(**{key: value}))
    for size in ("weights_gib_per_gpu", "kv_bytes_per_token_per_gpu"):
        assert odd[size] == plain[size]
    assert odd["confidence"] == "medium"
    assert f"config.json has {key}, which models of the type llama do not read; it is left out." in odd["notes"]


def test_layers_without_attention_are_not_believed() -> None:
    with pytest.raises(CannotEstimate, match="layer_types has 'mlp', a kind that is not known"):
        shape_from_config(llama(layer_types=["mlp"] * 32))


@pytest.mark.parametrize("value", ["gptq", 5, [4], True, {}])
def test_a_quantization_config_that_is_none_is_told(value: Any) -> None:
    found = answer(llama(quantization_config=value))
    assert found["confidence"] == "low"
    assert any(note.startswith("config.json has quantization_config = ") for note in found["notes"])
    assert answer(llama(quantization_config=value), precision="bf16")["confidence"] == "high"


@pytest.mark.parametrize("value", ["banana", 5, {"a": 1}, ["bfloat16"]])
@pytest.mark.parametrize("key", ["torch_dtype", "dtype"])
def test_a_dtype_that_is_none_is_told(key: str, value: Any) -> None:
    plain = {name: each for name, each in llama().items() if name not in ("torch_dtype", "dtype")}
    found = answer(plain | {key: value})
    assert found["confidence"] == "low"
    assert any(note.startswith(f"config.json has {key} = ") for note in found["notes"])
    assert answer(plain | {key: value}, precision="bf16")["confidence"] == "high"


@pytest.mark.parametrize("value", ["bfloat16", "torch.float16", "float32", "auto", None])
def test_a_dtype_that_is_known_is_not_told(value: Any) -> None:
    found = answer(llama(torch_dtype=value))
    assert (found["confidence"], found["notes"]) == ("high", [])


@pytest.mark.parametrize("group", [-7, 0, "x", 1.5])
@pytest.mark.parametrize("method", ["gptq", "awq", "auto-round", "hqq", "torchao", "compressed-tensors", "quark"])
def test_a_group_that_no_quantiser_stores_is_refused(method: str, group: Any) -> None:
    own: dict[str, Any] = {"quant_method": method, "bits": 4, "nbits": 4, "group_size": group}
    own["quant_type"] = {"default": {"_type": "Int4WeightOnlyConfig", "_data": {"group_size": group}}}
    weights = {"num_bits": 4, "type": "int", "group_size": group, "dtype": "int4"}
    own |= {"config_groups": {"group_0": {"weights": weights}}, "global_quant_config": {"weight": weights}}
    with pytest.raises(CannotEstimate, match="group"):
        answer(llama(quantization_config=own))
