"""Which type llama-quantize gives a tensor within each mix (ggml-org/llama.cpp, src/llama-quant.cpp).

An importance matrix is assumed where a mix below four bits needs one, and not elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

_TINY = frozenset({"IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M"})
_UNMIXED = frozenset({"F32", "F16", "BF16", "Q8_0"})
_EIGHT_EXPERTS_OUTPUT = frozenset({
    "Q2_K", "IQ3_XS", "IQ3_XXS", "Q3_K_S", "Q3_K_M", "IQ4_NL", "Q4_K_S", "Q4_K_M", "IQ3_S", "IQ3_M", "IQ4_XS",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of one layer; `layers` is how many layers have one."""

    name: str
    columns: int
    layer: int
    layers: int
    queries_per_kv: int
    experts: int
    is_70b: bool
    is_falcon: bool

    @property
    def gets_more_bits(self) -> bool:
        """The first and the last eighth of the layers, and each third between them."""
        eighth = self.layers // 8
        return self.layer < eighth or self.layer >= 7 * self.layers // 8 or (self.layer - eighth) % 3 == 2

    @property
    def is_early(self) -> bool:
        return self.layer < self.layers // 8


def tensor_type(tensor: Tensor, mix: str, usual: str) -> str:
    """The type before any fallback; `usual` is the mix's most common one."""
    if mix in _UNMIXED:
        return usual
    if mix == "MXFP4_MOE":
        return "MXFP4" if tensor.name.endswith("_exps") else "Q8_0"
    if tensor.name == "output":
        return _output_type(tensor, mix, usual)
    if tensor.name in ("token_embd", "per_layer_token_embd"):
        return _embedding_type(mix, usual)
    part = tensor.name.removesuffix("_exps").removesuffix("_shexp")
    if mix in _TINY:
        return _tiny_type(tensor, part, mix, usual)
    rule = {
        "attn_v": _value_type, "attn_k": _key_type, "attn_q": _query_type, "ffn_down": _down_type,
        "attn_output": _attention_output_type, "attn_qkv": _fused_type, "ffn_gate": _gate_type, "ffn_up": _gate_type,
    }.get(part)  # fmt: skip
    return rule(tensor, mix, usual) if rule else usual


def _output_type(tensor: Tensor, mix: str, usual: str) -> str:
    if tensor.is_falcon or tensor.columns % 256:
        return "Q8_0"
    if mix in _TINY or mix == "IQ3_XXS":
        return "Q5_K"
    return "Q6_K"


def _embedding_type(mix: str, usual: str) -> str:
    if mix in ("IQ2_XXS", "IQ2_XS", "IQ1_S", "IQ1_M"):
        return "Q2_K"
    if mix in ("IQ2_S", "IQ2_M", "IQ3_XXS"):
        return "IQ3_S"
    return "Q4_K" if mix.startswith("TQ") else usual


def _tiny_type(tensor: Tensor, part: str, mix: str, usual: str) -> str:
    wider = "IQ3_S" if mix in ("IQ2_S", "IQ2_M") else "Q2_K"
    if part == "attn_v":
        return "Q4_K" if tensor.queries_per_kv >= 4 or tensor.experts >= 4 else wider
    if part == "attn_k" and tensor.experts == 8:
        return "Q4_K"
    if part == "ffn_down" and tensor.is_early:
        return wider
    if part == "attn_output":
        if tensor.experts == 8:
            return "Q5_K"
        return {"IQ1_S": "IQ2_XXS", "IQ1_M": "IQ2_XXS", "IQ2_S": "IQ3_S", "IQ2_M": "IQ3_S"}.get(mix, usual)
    return usual


def _value_type(tensor: Tensor, mix: str, usual: str) -> str:
    chosen = _value_type_by_mix(tensor, mix, usual)
    if tensor.is_70b and chosen in ("Q3_K", "Q4_K"):
        chosen = "Q5_K"  # shared by eight queries, so more bits cost little
    return "Q8_0" if tensor.experts == 8 else chosen


def _value_type_by_mix(tensor: Tensor, mix: str, usual: str) -> str:
    shared = tensor.queries_per_kv >= 4
    if mix == "Q2_K":
        return "Q4_K" if shared else "Q3_K"
    if mix in ("Q2_K_S", "IQ3_XXS", "IQ3_XS", "IQ3_S"):
        return "Q4_K" if shared else usual
    if mix in ("IQ4_NL", "IQ4_XS"):
        return "Q5_K" if shared else usual
    if mix in ("Q4_K_M", "Q5_K_M"):
        return "Q6_K" if tensor.gets_more_bits else usual
    if mix == "Q3_K_M":
        return "Q5_K" if tensor.layer < 2 else "Q4_K"
    if mix == "Q4_K_S":
        return "Q5_K" if tensor.layer < 4 else usual
    return {"IQ3_M": "Q4_K", "Q3_K_L": "Q5_K"}.get(mix, usual)


def _key_type(tensor: Tensor, mix: str, usual: str) -> str:
    return "Q8_0" if tensor.experts == 8 else _query_type(tensor, mix, usual)


def _query_type(tensor: Tensor, mix: str, usual: str) -> str:
    return {"IQ3_XS": "IQ3_XXS", "IQ3_XXS": "IQ2_S"}.get(mix, usual)


def _down_type(tensor: Tensor, mix: str, usual: str) -> str:
    if mix in ("Q4_K_M", "Q5_K_M"):
        if tensor.is_falcon and mix == "Q4_K_M":
            return "Q6_K" if tensor.layer < tensor.layers // 16 else "Q5_K" if tensor.gets_more_bits else usual
        return "Q6_K" if tensor.gets_more_bits else usual
    if mix == "Q3_K_M":
        return "Q5_K" if tensor.layer < tensor.layers // 16 else "Q4_K"
    if mix == "IQ3_M" and tensor.experts == 8 and tensor.gets_more_bits:
        return "Q4_K"
    early = {"Q2_K_S": "Q4_K", "IQ3_M": "Q4_K", "IQ4_NL": "Q5_K", "IQ4_XS": "Q5_K", "Q4_K_S": "Q5_K"}
    if tensor.is_early and mix in early:
        return early[mix]
    return {"Q2_K": "Q3_K", "Q3_K_L": "Q4_K" if tensor.is_falcon else "Q5_K"}.get(mix, usual)


def _attention_output_type(tensor: Tensor, mix: str, usual: str) -> str:
    if tensor.is_falcon:
        return "Q4_K" if mix == "Q3_K_L" else usual
    if tensor.experts == 8:
        return "Q5_K" if mix in _EIGHT_EXPERTS_OUTPUT else usual
    return {"Q2_K": "Q3_K", "IQ3_XXS": "IQ3_S", "Q3_K_M": "Q4_K", "Q3_K_L": "Q5_K", "IQ3_M": "Q4_K"}.get(mix, usual)


def _fused_type(tensor: Tensor, mix: str, usual: str) -> str:
    if mix in ("Q3_K_M", "Q3_K_L", "IQ3_M"):
        return "Q4_K"
    return {"Q4_K_M": "Q5_K", "Q5_K_M": "Q6_K"}.get(mix, usual)


def _gate_type(tensor: Tensor, mix: str, usual: str) -> str:
    middle = tensor.layers // 8 <= tensor.layer < 7 * tensor.layers // 8
    return "IQ3_XXS" if mix == "IQ3_XS" and middle else usual
