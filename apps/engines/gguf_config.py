"""The header of a GGUF file as a config.json would say it, so that one reader knows every model's shape.

Keys: ggml-org/ggml docs/gguf.md and gguf-py's constants of ggml-org/llama.cpp.
"""

from __future__ import annotations

from typing import Any

from apps.engines.gguf_header import GgufHeader

# Architectures whose name in config.json is another one.
_FAMILIES = {
    "qwen2moe": "qwen2_moe", "qwen3moe": "qwen3_moe", "qwen2vl": "qwen2_vl_text", "qwen3vl": "qwen3_vl_text",
    "qwen3vlmoe": "qwen3_vl_moe_text", "qwen3next": "qwen3_next", "gemma3": "gemma3_text", "gemma4": "gemma4_text",
    "llama4": "llama4_text", "phi2": "phi", "command-r": "cohere", "gpt-oss": "gpt_oss", "glm4moe": "glm4_moe",
    "gptneox": "gpt_neox", "starcoder": "gpt_bigcode", "falcon-h1": "falcon_h1", "ernie4_5-moe": "ernie4_5_moe",
    "hunyuan-moe": "hunyuan_v1_moe", "hunyuan-dense": "hunyuan_v1_dense", "minimax-m2": "minimax_m2",
    "nemotron_h_moe": "nemotron_h", "granitehybrid": "granitemoehybrid", "mistral3": "ministral3",
    "lfm2moe": "lfm2_moe", "bailingmoe": "bailing_moe", "deepseek2": "deepseek_v3",
}  # fmt: skip
# config.json's name -> the key under the architecture's prefix
_NUMBERS = {
    "hidden_size": "embedding_length", "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv", "head_dim": "attention.key_length",
    "intermediate_size": "feed_forward_length", "max_position_embeddings": "context_length",
    "sliding_window": "attention.sliding_window", "num_experts": "expert_count",
    "num_experts_per_tok": "expert_used_count", "moe_intermediate_size": "expert_feed_forward_length",
    "shared_expert_intermediate_size": "expert_shared_feed_forward_length", "n_shared_experts": "expert_shared_count",
    "first_k_dense_replace": "leading_dense_block_count", "kv_lora_rank": "attention.kv_lora_rank",
    "q_lora_rank": "attention.q_lora_rank",
}  # fmt: skip


def config_from_gguf(header: GgufHeader) -> dict[str, Any]:
    """Only what the header says; a missing key is missing there too."""
    config: dict[str, Any] = {"model_type": _family(header)}
    for name, key in _NUMBERS.items():
        number = _largest(header.of_architecture(key))
        if number:
            config[name] = number
    vocabulary = _largest(header.of_architecture("vocab_size")) or _length(header.metadata.get("tokenizer.ggml.tokens"))
    if vocabulary:
        config["vocab_size"] = vocabulary
    if "kv_lora_rank" in config:
        config |= _latent_heads(header)
    if len(header.tensors) >= _length(header.metadata.get("split.tensors.count")):  # not a part alone
        config["tie_word_embeddings"] = "output.weight" not in header.tensors
    return config


def _family(header: GgufHeader) -> str:
    """Mixtral's files call themselves llama; DeepSeek-V2 and -V3 share one name and one shape."""
    name = header.architecture
    if name == "llama" and header.of_architecture("expert_count"):
        return "mixtral"
    return _FAMILIES.get(name, name.replace("-", "_"))


def _latent_heads(header: GgufHeader) -> dict[str, int]:
    """Latent attention: newer files give the heads' own sizes beside those of the shared cache."""
    rope = _largest(header.of_architecture("rope.dimension_count"))
    key = _largest(header.of_architecture("attention.key_length_mla") or header.of_architecture("attention.key_length"))
    value = _largest(
        header.of_architecture("attention.value_length_mla") or header.of_architecture("attention.value_length")
    )
    return {"qk_rope_head_dim": rope, "qk_nope_head_dim": max(0, key - rope), "v_head_dim": value}


def _largest(value: Any) -> int:
    """Of a list with one number a layer; 0 where none can be a dimension."""
    return max(map(_length, value if isinstance(value, list) else [value]), default=0)


def _length(value: Any) -> int:
    """A header keeps a long list as its length."""
    return value if type(value) is int and 0 < value < 2**31 else 0
