"""Layers that keep a state instead of every token: Mamba, Mamba-2, gated delta net, lightning attention, convolution.

Sources: Mamba (arXiv 2312.00752), Mamba-2 (arXiv 2405.21060), gated delta net (arXiv 2412.06464), MiniMax-01
(arXiv 2501.08313), and the classes of the transformers library.
"""

from __future__ import annotations

from apps.planning.config_fields import Fields
from apps.planning.config_heads import Heads
from apps.planning.shapes import Cache, Matrix, each_layer

_STATE_BYTES = 4  # the recurrent state stays in float32
_CONV_BYTES = 2
_UNSAID = (None, "auto")  # Jamba's and Bamba's word


def recurrent_layers(fields: Fields, name: str, heads: Heads, layers: int) -> tuple[list[Matrix], Cache]:
    """Matrices of `layers` layers with a state, and the state."""
    if name in ("lfm2", "lfm2_moe"):
        return _short_convolution(fields, heads.hidden_size, layers)
    if fields.raw("linear_num_value_heads"):
        return _delta_net(fields, heads.hidden_size, layers)
    if name in ("mamba", "falcon_mamba", "jamba"):
        return _mamba(fields, heads.hidden_size, layers)
    if name in ("minimax", "minimax_text_01", "minimax_m1"):
        return _lightning(heads, layers)
    return _mamba2(fields, heads.hidden_size, layers)


def _short_convolution(fields: Fields, hidden: int, layers: int) -> tuple[list[Matrix], Cache]:
    width = fields.count_or("conv_L_cache", 3)
    matrices = [("shortconv_in", 3 * hidden, hidden), ("shortconv_out", hidden, hidden), ("conv", hidden, width)]
    state = hidden * width * _CONV_BYTES
    return each_layer(matrices, layers), Cache("state", layers, state_bytes=state)


def _delta_net(fields: Fields, hidden: int, layers: int) -> tuple[list[Matrix], Cache]:
    """Gated delta net of Qwen3-Next and Qwen3.5."""
    key_heads, value_heads = fields.count("linear_num_key_heads"), fields.count("linear_num_value_heads")
    key_size, value_size = fields.count("linear_key_head_dim"), fields.count("linear_value_head_dim")
    keys, values, kernel = key_heads * key_size, value_heads * value_size, fields.count_or("linear_conv_kernel_dim", 4)
    matrices = [
        ("ssm_in", 2 * keys + 2 * values, hidden),
        ("ssm_ba", 2 * value_heads, hidden),
        ("conv", 2 * keys + values, kernel),
        ("ssm_out", hidden, values),
        ("vector", 2 * value_heads + value_size, 1),
    ]
    state = value_heads * key_size * value_size * _STATE_BYTES + (2 * keys + values) * (kernel - 1) * _CONV_BYTES
    return each_layer(matrices, layers), Cache("state", layers, state_bytes=state)


def _mamba(fields: Fields, hidden: int, layers: int) -> tuple[list[Matrix], Cache]:
    """Mamba's selective scan (arXiv 2312.00752)."""
    states = fields.count_or("state_size", 0) or fields.count_or("mamba_d_state", 16)
    expand = fields.count_or("expand", 0) or fields.count_or("mamba_expand", 2)
    kernel = fields.count_or("conv_kernel", 0) or fields.count_or("mamba_d_conv", 4)
    inner = fields.count_or("intermediate_size", 0) if fields.raw("state_size") else expand * hidden
    inner = inner or expand * hidden
    rank = _rank(fields, hidden)
    matrices = [
        ("ssm_in", 2 * inner, hidden), ("conv", inner, kernel + 1), ("ssm_x", rank + 2 * states, inner),
        ("ssm_dt", inner, rank + 1), ("vector", inner * (states + 1), 1), ("ssm_out", hidden, inner),
    ]  # fmt: skip
    state = inner * states * _STATE_BYTES + inner * (kernel - 1) * _CONV_BYTES
    return each_layer(matrices, layers), Cache("state", layers, state_bytes=state)


def _rank(fields: Fields, hidden: int) -> int:
    for name in ("time_step_rank", "mamba_dt_rank"):
        if fields.raw(name) not in _UNSAID:
            return fields.count(name)
    return -(-hidden // 16)


def _mamba2(fields: Fields, hidden: int, layers: int) -> tuple[list[Matrix], Cache]:
    """Mamba-2, under the names of Mamba-2 itself, Nemotron-H, Bamba, Granite and Falcon-H1."""
    count = _first(fields, "mamba_n_heads", "mamba_num_heads") or fields.count("num_heads")
    size = _first(fields, "mamba_d_head", "mamba_head_dim", "head_dim") or 64
    groups = _first(fields, "mamba_n_groups", "n_groups") or 1
    states = _first(fields, "mamba_d_state", "ssm_state_size", "state_size") or 128
    kernel = _first(fields, "mamba_d_conv", "conv_kernel") or 4
    inner = count * size
    mixed = inner + 2 * groups * states
    matrices = [
        ("ssm_in", inner + mixed + count, hidden), ("conv", mixed, kernel + 1), ("vector", 3 * count + inner, 1),
        ("ssm_out", hidden, inner),
    ]  # fmt: skip
    state = count * size * states * _STATE_BYTES + mixed * (kernel - 1) * _CONV_BYTES
    return each_layer(matrices, layers), Cache("state", layers, state_bytes=state)


def _first(fields: Fields, *names: str) -> int:
    """The first of these fields that says a number above 0; 0 where none does."""
    found = (fields.count_or(name, 0) for name in names if fields.raw(name) not in _UNSAID)
    return next((value for value in found if value), 0)


def _lightning(heads: Heads, layers: int) -> tuple[list[Matrix], Cache]:
    """MiniMax's lightning attention (arXiv 2501.08313): query, key, value, a gate, and the output."""
    inner = heads.count * heads.key_size
    matrices = [
        ("attn_qkv", 3 * inner, heads.hidden_size), ("attn_gate", inner, heads.hidden_size),
        ("attn_output", heads.hidden_size, inner), ("vector", inner, 1),
    ]  # fmt: skip
    state = heads.count * heads.key_size * heads.key_size * _STATE_BYTES
    return each_layer(matrices, layers), Cache("state", layers, state_bytes=state)
