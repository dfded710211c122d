"""The feed-forward blocks: dense ones, experts, and how the two alternate."""

from __future__ import annotations

from dataclasses import dataclass

from apps.planning.config_fields import Fields
from apps.planning.config_layers import LayerKinds
from apps.planning.families import Family
from apps.planning.shapes import ROUTER, CannotEstimate, Matrix

# Families whose `intermediate_size` is the size of an expert.
_EXPERT_SIZED = frozenset({
    "mixtral", "phimoe", "olmoe", "granitemoe", "granitemoeshared", "granitemoehybrid", "gpt_oss", "minimax",
    "minimax_text_01", "minimax_m1", "minimax_m2", "jamba", "llama4_text", "dbrx", "hunyuan_v1_moe", "flex_olmo",
})  # fmt: skip
# Classes that take four times the hidden size, whose configs seldom name another.
_FOUR_TIMES = ("gpt2", "gpt_neo", "gptj", "bloom", "mpt", "falcon", "gpt_bigcode")


@dataclass(frozen=True, slots=True)
class Experts:
    """`experts` in each of `layers` layers, `used` of them for a token; `dense_size` of the layers without."""

    experts: int = 0
    used: int = 0
    expert_size: int = 0
    shared_size: int = 0
    layers: int = 0
    dense_size: int = 0
    latent_size: int = 0  # of the narrower space that Nemotron 3's routed experts work in


def feedforward_layers(
    fields: Fields, name: str, family: Family, hidden: int, kinds: LayerKinds
) -> tuple[list[Matrix], Experts]:
    """Matrices of all feed-forward blocks. Raises CannotEstimate where sizes are missing or contradict."""
    moe = read_experts(fields, name, hidden, kinds)
    dense = kinds.dense_alone if kinds.dense_alone is not None else kinds.total - moe.layers
    if name in ("mamba", "mamba2", "falcon_mamba"):
        dense = 0
    if name == "gemma4_text":
        dense = kinds.total  # experts stand beside the dense block
    matrices: list[Matrix] = []
    if dense > 0:
        matrices += _block(fields, family, hidden, _dense_size(fields, name, family, hidden), dense)
    if moe.layers:
        matrices += _experts(name, family, hidden, moe)
    return matrices, moe


def _dense_size(fields: Fields, name: str, family: Family, hidden: int) -> int:
    own = fields.inner("ffn_config").count_or("ffn_hidden_size", 0)
    if own:
        return own
    if name == "llama4_text" and fields.raw("intermediate_size_mlp"):
        return fields.count("intermediate_size_mlp")
    if name in ("granitemoehybrid", "granitemoeshared") and fields.raw("shared_intermediate_size"):
        return fields.count("shared_intermediate_size")
    size = fields.first_or("intermediate_size", 0)
    if name == "lfm2" and fields.flag("block_auto_adjust_ff_dim", default=True):
        multiple = fields.count_or("block_multiple_of", 256) or 1
        size = -(-(2 * size // 3) // multiple) * multiple
    if name == "qwen":
        size //= 2
    if not size:
        if family.gated:
            raise CannotEstimate("config.json lacks intermediate_size; without it the weights cannot be counted.")
        size = 4 * hidden if name in _FOUR_TIMES else fields.filled("intermediate_size", 4 * hidden)
    return size


def _block(fields: Fields, family: Family, hidden: int, size: int, layers: int) -> list[Matrix]:
    matrices = [Matrix("ffn_up", size, hidden, layers, layers), Matrix("ffn_down", hidden, size, layers, layers)]
    if family.gated:
        matrices.insert(0, Matrix("ffn_gate", size, hidden, layers, layers))
    if fields.flag("mlp_bias", default=family.mlp_bias):
        matrices.append(Matrix("vector", size * (1 + family.gated) + hidden, 1, layers, layers))
    return matrices


def read_experts(fields: Fields, name: str, hidden: int, kinds: LayerKinds) -> Experts:
    """What the config says of experts; all zeros for a dense model."""
    inner = fields.inner("ffn_config")
    count = fields.first_or("num_experts", 0) or inner.count_or("moe_num_experts", 0)
    named = [key for key in ("moe_intermediate_size", "num_experts_per_tok") if fields.raw_int(key)]
    if not count and named and fields.raw("num_experts") is None:
        raise CannotEstimate(f"config.json has {named[0]} but lacks num_experts, how many experts a layer holds.")
    if count < 2:
        size = fields.first_or("intermediate_size", 0) if kinds.dense_alone != 0 else 0
        return Experts(dense_size=size)
    used = (
        fields.first_or("num_experts_per_tok", 0)
        or inner.count_or("moe_top_k", 0)
        or fields.filled("num_experts_per_tok", 1)
    )
    if used > count:
        raise CannotEstimate(f"config.json has num_experts_per_tok = {used}, more than its {count} experts.")
    size = _expert_size(fields, name, inner)
    layers = kinds.experts_alone if kinds.experts_alone is not None else _expert_layers(fields, name, kinds.total)
    dense = fields.first_or("intermediate_size", 0) if layers < kinds.total else 0
    shared, latent = _shared_size(fields, name, size), fields.count_or("moe_latent_size", 0)
    return Experts(count, used, size, shared, layers, dense, latent)


def _expert_size(fields: Fields, name: str, inner: Fields) -> int:
    size = fields.first_or("moe_intermediate_size", 0) or inner.count_or("ffn_hidden_size", 0)
    if not size and name in _EXPERT_SIZED:
        size = fields.first_or("intermediate_size", 0)
    if not size:
        raise CannotEstimate("config.json names experts but lacks moe_intermediate_size, the size of one.")
    return size


def _shared_size(fields: Fields, name: str, expert_size: int) -> int:
    own = fields.count_or("shared_expert_intermediate_size", 0) or fields.count_or("shared_intermediate_size", 0)
    own = own or fields.count_or("moe_shared_expert_intermediate_size", 0)
    if own:
        return own
    if name == "llama4_text":
        return expert_size
    return fields.first_or("n_shared_experts", 0) * expert_size


def _expert_layers(fields: Fields, name: str, total: int) -> int:
    """How many layers have experts."""
    named = fields.list_of("mlp_layer_types") or fields.list_of("moe_layer_freq")
    if len(named) >= total:
        return sum(1 for each in named[:total] if each in ("sparse", 1))
    if name == "jamba":
        period, offset = fields.count_or("expert_layer_period", 2), fields.count_or("expert_layer_offset", 1)
        return sum(1 for index in range(total) if index % max(1, period) == offset)
    step = fields.count_or("interleave_moe_layer_step", 0) or fields.count_or("decoder_sparse_step", 0)
    step = step or fields.count_or("moe_layer_interval", 0) or fields.count_or("moe_layer_freq", 1) or 1
    first = fields.first_or("first_k_dense_replace", 0)
    kept = {each for each in fields.list_of("mlp_only_layers") if isinstance(each, int)}
    has = [index >= first and index not in kept for index in range(total)]
    if name in ("llama4_text", "qwen2_moe", "qwen3_moe", "qwen3_next", "ernie4_5_moe"):
        return sum(1 for index in range(total) if has[index] and (index + 1) % step == 0)
    return sum(1 for index in range(total) if has[index] and index % step == 0)


def _experts(name: str, family: Family, hidden: int, moe: Experts) -> list[Matrix]:
    count, used = moe.layers * moe.experts, moe.layers * moe.used
    width = moe.latent_size or hidden
    names = ("ffn_gate_exps", "ffn_up_exps") if family.gated else ("ffn_up_exps",)
    matrices = [Matrix(each, moe.expert_size, width, count, used) for each in names]
    matrices.append(Matrix("ffn_down_exps", width, moe.expert_size, count, used))
    if moe.latent_size:
        matrices.append(Matrix("ffn_latent_proj", moe.latent_size, 2 * hidden, moe.layers, moe.layers))
    matrices.append(Matrix(ROUTER, moe.experts, hidden, moe.layers, moe.layers))
    if family.mlp_bias:
        matrices.append(Matrix("vector", 2 * moe.expert_size + hidden, 1, count, used))
    if moe.shared_size:
        shared = ("ffn_gate_shexp", "ffn_up_shexp") if family.gated else ("ffn_up_shexp",)
        matrices += [Matrix(each, moe.shared_size, hidden, moe.layers, moe.layers) for each in shared]
        matrices.append(Matrix("ffn_down_shexp", hidden, moe.shared_size, moe.layers, moe.layers))
    if name in ("qwen2_moe", "qwen3_next", "qwen3_5_moe_text"):
        matrices.append(Matrix("shared_gate", 1, hidden, moe.layers, moe.layers))
    return matrices
