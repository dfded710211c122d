"""The sizes of attention in a config.json, and whether they agree with each other."""

from __future__ import annotations

from dataclasses import dataclass

from apps.planning.class_defaults import CLASS_DEFAULTS, NO_KV_FIELD
from apps.planning.config_fields import Fields
from apps.planning.shapes import CannotEstimate

_USUAL_SIZES = (64, 80, 96, 128, 256)
# Configs of these may set a size of their own; Mistral Nemo's 5120 / 32 = 160 would be wrong: its heads have 128.
_SETS_SIZE = ("llama", "mistral", "ministral", "mixtral", "nemotron", "minimax", "hunyuan_v1_dense", "hunyuan_v1_moe")
_OWN_SIZES = ("qwen3_moe", "mistral4")  # releases set a head size other than hidden_size / heads


@dataclass(frozen=True, slots=True)
class Heads:
    """Sizes of attention. `latent` is the width of the shared vector that latent attention keeps a token."""

    hidden_size: int
    count: int
    kv_count: int
    key_size: int
    value_size: int
    latent: int = 0


def read_heads(fields: Fields, name: str) -> Heads:
    """Raises CannotEstimate where heads and sizes contradict each other."""
    hidden = fields.count("hidden_size")
    if name in ("mamba", "mamba2", "falcon_mamba"):
        return Heads(hidden, 1, 1, 1, 1)
    count = fields.count("num_attention_heads")
    if fields.raw("kv_lora_rank") or "kv_lora_rank" in CLASS_DEFAULTS.get(name, {}):
        return _latent_heads(fields, hidden, count)
    kv_count = _kv_heads(fields, name, count)
    size = fields.count_or("head_dim", 0)
    if not size:
        if hidden % count:
            raise CannotEstimate(
                f"config.json has num_attention_heads = {count}, which does not divide hidden_size = {hidden}, "
                "and no head_dim."
            )
        size = hidden // count
        if name in _OWN_SIZES or (name in _SETS_SIZE and size not in _USUAL_SIZES):
            fields.filled("head_dim", size)
    if count % kv_count:
        raise CannotEstimate(
            f"config.json has num_key_value_heads = {kv_count}, which does not divide num_attention_heads = {count}."
        )
    return Heads(hidden, count, kv_count, size, size)


def _latent_heads(fields: Fields, hidden: int, count: int) -> Heads:
    rope = fields.count("qk_rope_head_dim")
    key = fields.count("qk_nope_head_dim") + rope
    return Heads(hidden, count, count, key, fields.count("v_head_dim"), fields.count("kv_lora_rank") + rope)


def _kv_heads(fields: Fields, name: str, count: int) -> int:
    if name == "falcon" and not fields.flag("new_decoder_architecture"):
        return 1 if fields.flag("multi_query", default=True) else count
    if name == "gpt_bigcode":
        return 1 if fields.flag("multi_query", default=True) else count
    if name == "chatglm" and fields.flag("multi_query_attention"):
        return fields.count("multi_query_group_num")
    inner = fields.inner("attn_config").count_or("kv_n_heads", 0)
    if inner:
        return inner
    if fields.raw("num_key_value_heads") is not None:
        return fields.count("num_key_value_heads")
    return count if name in NO_KV_FIELD else fields.filled("num_key_value_heads", count)
