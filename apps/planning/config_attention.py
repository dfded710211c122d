"""Attention: weight matrices of each layer, and what the layer keeps of a sequence.

Sources: the classes of the transformers library; multi-head latent attention (DeepSeek-V2, arXiv 2405.04434).
"""

from __future__ import annotations

from dataclasses import replace

from apps.planning.config_fields import Fields
from apps.planning.config_heads import Heads
from apps.planning.config_layers import LayerKinds
from apps.planning.config_recurrent import recurrent_layers
from apps.planning.families import Family
from apps.planning.shapes import Cache, Matrix, each_layer


def attention_layers(
    fields: Fields, name: str, family: Family, heads: Heads, kinds: LayerKinds
) -> tuple[list[Matrix], list[Cache]]:
    """Matrices and caches of everything in a layer that is not the feed-forward block."""
    matrices = [Matrix("norm", heads.hidden_size, 1, _norms(family, kinds) * (1 + family.norm_bias), 1)]
    caches: list[Cache] = []
    for kind, layers in (("full", kinds.full), ("sliding", kinds.sliding), ("chunked", kinds.chunked)):
        if layers:
            own = _wide(fields, name, heads) if kind == "full" else heads
            matrices += _latent(fields, own, layers) if own.latent else _plain(fields, family, name, own, layers)
            # Layers that look at an image keep nothing of the text (Llama 3.2 Vision).
            keeps = layers - min(layers, len(fields.list_of("cross_attention_layers"))) if kind == "full" else layers
            caches.append(_cache(kind, own, keeps, kinds.window))
    if kinds.both:
        matrices += _plain(fields, family, name, heads, kinds.both)
        caches.append(_cache("full", heads, kinds.both, 0))
    if kinds.state or kinds.both:
        recurrent, cache = recurrent_layers(fields, name, heads, kinds.state + kinds.both)
        matrices += recurrent
        caches.append(cache)
    return matrices, caches


def _norms(family: Family, kinds: LayerKinds) -> int:
    return family.layer_norms * kinds.total


def _wide(fields: Fields, name: str, heads: Heads) -> Heads:
    """Gemma 4 gives its full-attention layers wider heads, fewer of them for keys and values."""
    size = fields.count_or("global_head_dim", 512 if name == "gemma4_text" else 0)
    if not size:
        return heads
    kv_count = fields.count_or("num_global_key_value_heads", heads.kv_count) or heads.kv_count
    return replace(heads, key_size=size, value_size=size, kv_count=kv_count)


def _cache(kind: str, heads: Heads, layers: int, window: int) -> Cache:
    if heads.latent:
        return Cache("latent", layers, 1, heads.latent)
    width = heads.key_size + heads.value_size
    if kind == "sliding":
        return Cache("sliding", layers, heads.kv_count, width, window)
    if kind == "chunked":
        return Cache("chunked", layers, heads.kv_count, width, window)
    return Cache("full", layers, heads.kv_count, width)


def _plain(fields: Fields, family: Family, name: str, heads: Heads, layers: int) -> list[Matrix]:
    """Query, key, value and output projections of `layers` layers, with biases and norms."""
    hidden, query, kv = heads.hidden_size, heads.count * heads.key_size, heads.kv_count * heads.key_size
    asked = fields.raw("attention_bias") if name != "glm4_moe" else None
    qkv_bias = _bias(fields, "qkv_bias", "add_qkv_bias", "use_bias", "bias", default=bool(asked) or family.qkv_bias)
    output_bias = _output_bias(name, asked, fields, family)
    shares = bool(fields.raw("attention_k_eq_v")) and heads.key_size > fields.count_or("head_dim", heads.key_size)
    gate = 2 if family.gated_attention or fields.flag("attn_output_gate") else 1
    matrices = [
        Matrix("attn_q", query * gate, hidden, layers, layers),
        Matrix("attn_k", kv, hidden, layers, layers),
        Matrix("attn_output", hidden, query, layers, layers),
    ]
    if not shares:
        matrices.append(Matrix("attn_v", kv, hidden, layers, layers))
    vectors = (query * gate + 2 * kv) * qkv_bias + hidden * output_bias
    vectors += {"none": 0, "head": 2 * heads.key_size, "full": query + kv}[_qk_norm(fields, family)]
    vectors += heads.count * (name == "gpt_oss")  # attention sinks
    return [*matrices, *([Matrix("vector", vectors, 1, layers, layers)] if vectors else [])]


def _qk_norm(fields: Fields, family: Family) -> str:
    asked = fields.raw("use_qk_norm")
    if asked is None:
        asked = fields.raw("qk_layernorm")
    if family.qk_norm == "none" and asked is True:
        return "head"
    return "none" if asked is False else family.qk_norm


def _bias(fields: Fields, *names: str, default: bool) -> bool:
    for name in names:
        if isinstance(fields.raw(name), bool):
            return fields.flag(name)
    return default


def _output_bias(name: str, asked: object, fields: Fields, family: Family) -> bool:
    if name in ("seed_oss", "glm", "glm4", "qwen2", "qwen2_moe", "chatglm"):
        return fields.flag("attention_out_bias") or fields.flag("add_bias_linear")
    return bool(asked) or _bias(fields, "use_bias", "bias", default=family.output_bias)


def _latent(fields: Fields, heads: Heads, layers: int) -> list[Matrix]:
    """DeepSeek's latent attention: queries and keys go through narrow matrices."""
    hidden, rank = heads.hidden_size, fields.count("kv_lora_rank")
    query_rank, rope = fields.count_or("q_lora_rank", 0), fields.count("qk_rope_head_dim")
    query, key = heads.count * heads.key_size, heads.count * (heads.key_size - rope)
    shapes = [
        ("attn_kv_a_mqa", rank + rope, hidden),
        ("attn_kv_b", key + heads.count * heads.value_size, rank),
        ("attn_output", hidden, heads.count * heads.value_size),
        ("vector", rank + query_rank, 1),
    ]
    shapes += [("attn_q_a", query_rank, hidden), ("attn_q_b", query, query_rank)] if query_rank else [
        ("attn_q", query, hidden)
    ]  # fmt: skip
    indexer = fields.count_or("index_n_heads", 0)
    if indexer:  # DeepSeek-V3.2's sparse attention picks tokens by a small indexer
        size = fields.count_or("index_head_dim", 128)
        shapes += [("indexer_q", indexer * size, query_rank or hidden), ("indexer_k", size, hidden)]
        shapes += [("indexer_w", indexer, hidden)]
    return each_layer(shapes, layers)
