"""What each family of models does in its own way: the facts that a config.json leaves unsaid.

Read from the classes that build them in the transformers library (5.16), and checked against those
classes: see tests/planning/data/parameter_counts.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Norms = Literal["none", "head", "full"]


@dataclass(frozen=True, slots=True)
class Family:
    """`gated`: three matrices in the feed-forward block instead of two. `tied`: where the config is silent.

    `layer_norms` counts vectors of the hidden size in a layer; `alternation` n: each nth layer looks at
    everything, the others through a window. `defaults` stand for fields that configs of the family leave out.
    """

    gated: bool = True
    qkv_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    norm_bias: bool = False
    qk_norm: Norms = "none"
    layer_norms: int = 2
    tied: bool = False
    alternation: int = 0
    positions: bool = False  # learned positions: a matrix as long as the context
    gated_attention: bool = False  # the query projection makes a gate as well
    defaults: Mapping[str, Any] = field(default_factory=dict)


_BIASED = Family(gated=False, qkv_bias=True, output_bias=True, mlp_bias=True, norm_bias=True)
_OLD = replace(_BIASED, tied=True)
_GEMMA3 = {
    "vocab_size": 262208, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256,
    "max_position_embeddings": 131072, "sliding_window": 4096,
}  # fmt: skip
_QWEN35 = Family(
    qk_norm="head",
    gated_attention=True,
    defaults={
        "full_attention_interval": 4, "head_dim": 256, "linear_num_key_heads": 16, "linear_num_value_heads": 32,
        "linear_key_head_dim": 128, "linear_value_head_dim": 128,
    },
)  # fmt: skip
_DEEPSEEK = Family()

FAMILIES: dict[str, Family] = {
    "llama": Family(),
    "mistral": Family(),
    "ministral": Family(),
    "ministral3": Family(),
    "mistral4": _DEEPSEEK,
    "mixtral": Family(),
    "qwen": Family(qkv_bias=True),
    "qwen2": Family(qkv_bias=True),
    "qwen2_moe": Family(qkv_bias=True),
    "qwen2_vl": Family(qkv_bias=True),
    "qwen2_5_vl": Family(qkv_bias=True),
    "qwen2_vl_text": Family(qkv_bias=True),
    "qwen2_5_vl_text": Family(qkv_bias=True),
    "qwen3": Family(qk_norm="head"),
    "qwen3_moe": Family(qk_norm="head"),
    "qwen3_vl_text": Family(qk_norm="head"),
    "qwen3_vl_moe_text": Family(qk_norm="head"),
    "qwen3_next": _QWEN35,
    "qwen3_5_text": _QWEN35,
    "qwen3_5_moe_text": _QWEN35,
    "gemma": Family(tied=True, defaults={"head_dim": 256}),
    "gemma2": Family(tied=True, layer_norms=4, alternation=2, defaults={"sliding_window": 4096, "head_dim": 256}),
    "gemma3_text": Family(tied=True, layer_norms=4, qk_norm="head", alternation=6, defaults=_GEMMA3),
    "gemma4_text": Family(
        tied=True, layer_norms=4, qk_norm="head", alternation=6,
        defaults={"head_dim": 256, "sliding_window": 512, "vocab_size": 262144},
    ),
    "phi": _BIASED,
    "phi3": Family(),
    "phi3small": Family(qkv_bias=True, output_bias=True, mlp_bias=True, norm_bias=True, tied=True),
    "phi4_multimodal": Family(),
    "phimoe": Family(qkv_bias=True, output_bias=True, norm_bias=True),
    "deepseek_v2": _DEEPSEEK,
    "deepseek_v3": _DEEPSEEK,
    "deepseek_v32": _DEEPSEEK,
    "kimi_k2": _DEEPSEEK,
    "kimi_linear": _DEEPSEEK,
    "glm4_moe_lite": Family(defaults={"first_k_dense_replace": 1}),
    "glm_moe_dsa": _DEEPSEEK,
    "chatglm": Family(qkv_bias=True),
    "glm": Family(qkv_bias=True),
    "glm4": Family(qkv_bias=True, layer_norms=4),
    "glm4_moe": Family(),
    "gpt_oss": Family(
        qkv_bias=True, output_bias=True, mlp_bias=True, alternation=2, defaults={"head_dim": 64, "sliding_window": 128}
    ),
    "llama4_text": Family(
        alternation=4,
        defaults={
            "vocab_size": 202048, "num_attention_heads": 40, "num_key_value_heads": 8, "head_dim": 128,
            "hidden_size": 5120, "intermediate_size": 8192, "intermediate_size_mlp": 16384, "num_hidden_layers": 48,
            "attention_chunk_size": 8192, "interleave_moe_layer_step": 1, "max_position_embeddings": 131072,
        },
    ),
    "minimax": Family(),
    "minimax_text_01": Family(),
    "minimax_m1": Family(),
    "minimax_m2": Family(qk_norm="full"),
    "jamba": Family(),
    "bamba": Family(),
    "falcon_h1": Family(),
    "mamba": Family(tied=True, layer_norms=1),
    "falcon_mamba": Family(tied=True, layer_norms=1),
    "mamba2": Family(layer_norms=1),
    "nemotron": Family(gated=False, norm_bias=True),
    "nemotron_h": Family(gated=False, layer_norms=1),
    "granite": Family(),
    "granitemoe": Family(),
    "granitemoeshared": Family(),
    "granitemoehybrid": Family(),
    "olmo": Family(layer_norms=0),
    "olmo2": Family(qk_norm="full"),
    "olmo3": Family(qk_norm="full", alternation=4),
    "olmoe": Family(qk_norm="full"),
    "cohere": Family(tied=True, layer_norms=1),
    "cohere2": Family(tied=True, layer_norms=1, alternation=4),
    "starcoder2": _OLD,
    "gpt_bigcode": replace(_OLD, positions=True),
    "gpt2": replace(_OLD, positions=True),
    "gpt_neo": Family(gated=False, tied=True, output_bias=True, mlp_bias=True, norm_bias=True, positions=True),
    "gpt_neox": _BIASED,
    "gptj": Family(gated=False, mlp_bias=True, norm_bias=True, layer_norms=1),
    "falcon": Family(gated=False, tied=True, norm_bias=True, layer_norms=1),
    "opt": replace(_OLD, positions=True),
    "bloom": _OLD,
    "mpt": Family(gated=False, tied=True),
    "internlm": Family(qkv_bias=True, output_bias=True),
    "internlm2": Family(),
    "internlm3": Family(),
    "baichuan": Family(),
    "exaone": Family(),
    "exaone4": Family(qk_norm="head", alternation=4),
    "ernie4_5": Family(tied=True),
    "ernie4_5_moe": Family(tied=True),
    "hunyuan_v1_dense": Family(qk_norm="head"),
    "hunyuan_v1_moe": Family(qk_norm="head"),
    "seed_oss": Family(qkv_bias=True),
    "smollm3": Family(tied=True),
    "lfm2": Family(tied=True, qk_norm="head"),
    "lfm2_moe": Family(tied=True, qk_norm="head"),
    "stablelm": Family(norm_bias=True),
    "dbrx": Family(),
    "apertus": Family(gated=False, qk_norm="head"),
    "arcee": Family(gated=False),
    "dots1": Family(qk_norm="head"),
    "bailing_moe": Family(),
    "bitnet": Family(),
    "helium": Family(),
    "afmoe": Family(qk_norm="head", alternation=4, layer_norms=4, gated_attention=True),
    "solar_open": Family(),
}  # fmt: skip

# What the classes assume where the text part of a multimodal config is silent; a config of its own names these.
_LLAMA_SIZES = {"hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, "vocab_size": 32000}
NESTED_DEFAULTS: dict[str, dict[str, int]] = {
    "llama": {**_LLAMA_SIZES, "intermediate_size": 11008, "max_position_embeddings": 2048},
    "mistral": {
        **_LLAMA_SIZES, "intermediate_size": 14336, "num_key_value_heads": 8, "max_position_embeddings": 131072,
    },
}  # fmt: skip

# Wrappers around a language model whose own config names no family.
TEXT_FAMILIES = {
    "gemma3": "gemma3_text", "gemma4": "gemma4_text", "llama4": "llama4_text", "qwen3_5": "qwen3_5_text",
    "qwen3_5_moe": "qwen3_5_moe_text", "qwen3_vl": "qwen3_vl_text", "qwen3_vl_moe": "qwen3_vl_moe_text",
    "mistral3": "mistral", "llava": "llama", "kimi_k25": "kimi_k2", "paligemma": "gemma",
    "mllama": "llama", "mllama_text_model": "llama", "qwen2_5_omni_text": "qwen2", "qwen2_5_omni_thinker": "qwen2",
    "qwen3_omni_moe_text": "qwen3_moe", "qwen3_omni_moe_thinker": "qwen3_moe",
}  # fmt: skip
