"""Sizes that no model has: a config.json that claims them is mistaken or lies, and any answer would be wrong.

The bounds stand well outside of what is published: widths from 64 to 18,432, heads from 32 to 512, vocabularies up to
262,208, contexts up to ten million tokens, 512 experts, 2.8 trillion parameters.
"""

from __future__ import annotations

from apps.planning.config_fields import Fields
from apps.planning.shapes import CannotEstimate, ModelShape

_BOUNDS = {
    "hidden_size": (8, 131_072),
    "num_attention_heads": (1, 2_048),
    "head_dim": (8, 2_048),
    "vocab_size": (16, 4_000_000),
    "intermediate_size": (8, 2_000_000),
    "moe_intermediate_size": (8, 1_000_000),
    "num_experts": (0, 8_192),
    "max_position_embeddings": (0, 200_000_000),
    "kv_lora_rank": (8, 65_536),
    "q_lora_rank": (0, 65_536),
    "qk_rope_head_dim": (2, 2_048),
    "qk_nope_head_dim": (2, 2_048),
    "v_head_dim": (2, 2_048),
}
_NARROWEST, _WIDEST = 1 / 8, 8  # of num_attention_heads x head_dim to hidden_size
_WIDEST_FEED = 64  # of intermediate_size to hidden_size
_MOST_PARAMETERS = 20 * 10**12


def check_fields(fields: Fields) -> None:
    """Raises CannotEstimate naming the field, what it says, and what it could be."""
    for name, (least, most) in _BOUNDS.items():
        value = fields.raw_int(name)
        if value is not None and not least <= value <= most:
            raise CannotEstimate(
                f"config.json has {name} = {value:,}, which no model has; it must be from {least:,} to {most:,}."
            )


def check_shape(shape: ModelShape) -> None:
    """Raises CannotEstimate where sizes that could be are out of proportion to each other."""
    width, hidden = shape.attention_heads * shape.head_dim, shape.hidden_size
    has_attention = shape.attention_heads > 1 or shape.head_dim > 1
    if has_attention and not _NARROWEST <= width / hidden <= _WIDEST:
        raise CannotEstimate(
            f"config.json has num_attention_heads = {shape.attention_heads} with head_dim = {shape.head_dim}, together "
            f"{width:,}; beside hidden_size = {hidden:,} they must come to {hidden // 8:,} to {hidden * _WIDEST:,}."
        )
    if shape.ffn_size > _WIDEST_FEED * hidden:
        raise CannotEstimate(
            f"config.json has feed-forward blocks of {shape.ffn_size:,}; beside hidden_size = {hidden:,} "
            f"intermediate_size must be {_WIDEST_FEED * hidden:,} or less."
        )
    if shape.parameters > _MOST_PARAMETERS:
        raise CannotEstimate(
            f"config.json adds up to {shape.parameters:,} parameters, more than any model has; look at "
            f"num_hidden_layers = {shape.layers}, intermediate_size and the number of experts."
        )
