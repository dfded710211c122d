"""How large a GGUF file of a model is at each quantisation: tensor by tensor, as llama.cpp chooses their types.

Source: llama-quantize's rules in ggml-org/llama.cpp (src/llama-quant.cpp) and the block layouts of ggml. A mix
such as Q4_K_M gives some tensors in some layers more bits; rows that a block does not divide fall back to a wider
type. What a release already holds in MXFP4 stays so, whatever the file is called. Checked against published file sizes
(bench/planner.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches

from apps.planning.gguf_rules import Tensor, tensor_type
from apps.planning.shapes import EMBEDDING, EXPERTS, OUTPUT, ROUTER, CannotEstimate, Confidence, Matrix, ModelShape

# Bits a weight of each type: its block's bytes x 8 / its weights.
TYPE_BITS: dict[str, float] = {
    "F32": 32, "F16": 16, "BF16": 16, "Q8_0": 8.5, "Q6_K": 6.5625, "Q5_1": 6, "Q5_0": 5.5, "Q5_K": 5.5, "Q4_1": 5,
    "Q4_0": 4.5, "Q4_K": 4.5, "IQ4_NL": 4.5, "IQ4_XS": 4.25, "MXFP4": 4.25, "Q3_K": 3.4375, "IQ3_S": 3.4375,
    "IQ3_XXS": 3.0625, "Q2_K": 2.625, "IQ2_S": 2.5625, "IQ2_XS": 2.3125, "IQ2_XXS": 2.0625, "TQ2_0": 2.0625,
    "IQ1_M": 1.75, "TQ1_0": 1.6875, "IQ1_S": 1.5625,
}  # fmt: skip
# Quantisation -> the type that most of its tensors have.
QUANTISATIONS: dict[str, str] = {
    "F32": "F32", "F16": "F16", "BF16": "BF16", "Q8_0": "Q8_0", "Q6_K": "Q6_K", "Q5_K_M": "Q5_K", "Q5_K_S": "Q5_K",
    "Q5_1": "Q5_1", "Q5_0": "Q5_0", "Q4_K_M": "Q4_K", "Q4_K_S": "Q4_K", "Q4_1": "Q4_1", "Q4_0": "Q4_0",
    "IQ4_NL": "IQ4_NL", "IQ4_XS": "IQ4_XS", "MXFP4_MOE": "Q8_0", "Q3_K_L": "Q3_K", "Q3_K_M": "Q3_K", "Q3_K_S": "Q3_K",
    "IQ3_M": "IQ3_S", "IQ3_S": "IQ3_S", "IQ3_XS": "IQ3_S", "IQ3_XXS": "IQ3_XXS", "Q2_K": "Q2_K", "Q2_K_S": "Q2_K",
    "IQ2_M": "IQ2_S", "IQ2_S": "IQ2_XS", "IQ2_XS": "IQ2_XS", "IQ2_XXS": "IQ2_XXS", "IQ1_M": "IQ1_M",
    "IQ1_S": "IQ1_S", "TQ2_0": "TQ2_0", "TQ1_0": "TQ1_0",
}  # fmt: skip
_SHORT = {"Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M", "Q3_K": "Q3_K_M", "Q4": "Q4_K_M", "Q5": "Q5_K_M", "Q8": "Q8_0",
          "Q6": "Q6_K", "Q3": "Q3_K_M", "Q2": "Q2_K", "MXFP4": "MXFP4_MOE", "Q8_K": "Q8_0", "FP16": "F16",
          "FP32": "F32"}  # fmt: skip
_FALLBACK = {"Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}
_SMALL_BLOCKS = frozenset({"F32", "F16", "BF16", "Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0", "IQ4_NL", "MXFP4"})
_NEVER = frozenset({"ffn_gate_inp", "conv", "position_embd", "shared_gate"})  # stay at 32 bits
_SEPARATE = frozenset({"vision", "audio"})  # a file of its own
# Families whose files hold query, key and value as one tensor, which has rules of its own.
_FUSED = frozenset({
    "phi", "phi3", "falcon", "gpt2", "gpt_neox", "bloom", "mpt", "qwen", "chatglm", "gpt_bigcode", "dbrx",
})  # fmt: skip
# Released with experts in MXFP4, which every GGUF of them keeps (NousResearch/hermes-agent #116681 read the headers).
_KEEPS_MXFP4 = frozenset({"gpt_oss"})
# Files hold a layer that guesses the next token but one, with an embedding and a head of its own (ggml-org/llama.cpp
# #14939); since August 2026 some makers put it into a file beside (ggml-org/convert #24).
_GUESSES_AHEAD = frozenset({"glm4_moe"})
_TINY_MIX_ABOVE = 0.35  # makers leave more tensors wide the fewer bits the others have
_VOCABULARY_BYTES = 50  # a token's text, score, type and merge rule in the header


@dataclass(frozen=True, slots=True)
class GgufSize:
    """Bytes of the file: low, middle and high estimate."""

    quantisation: str
    low: int
    middle: int
    high: int
    bits_per_weight: float
    confidence: Confidence
    is_own_mix: bool = False  # a maker's, of which only the name is known


def quantisation_name(text: str) -> tuple[str, bool]:
    """The quantisation that free text means, and whether it is a maker's own mix of it (UD-..., ..._XL, Q4_K_L)."""
    asked = re.sub(r"\.gguf$", "", text.strip(), flags=re.I).upper().replace("-", "_")
    named = re.search(r"(UD_)?(I?Q\d(?:_[A-Z0-9]+)*|TQ\d_\d|B?F16|F32|MXFP4(?:_MOE)?)", asked)
    asked = named[0] if named else asked
    own = asked.startswith("UD_") or asked.endswith("_XL") or (asked.endswith("_K_L") and asked not in QUANTISATIONS)
    name = asked.removeprefix("UD_").removesuffix("_XL")
    name = name.removesuffix("_L") if name not in QUANTISATIONS else name
    name = _SHORT.get(name, name)
    if own and name not in QUANTISATIONS:
        name = next((each for each in (f"{name}_M", f"{name}_L", f"{name}_XXS") if each in QUANTISATIONS), name)
    if name not in QUANTISATIONS:
        near = get_close_matches(name, QUANTISATIONS, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise CannotEstimate(f"GGUF quantisation {text[:40]!r} is not known; use one such as Q4_K_M or Q8_0.{hint}")
    return name, own


def gguf_file_bytes(shape: ModelShape, quantisation: str) -> GgufSize:
    """Size of the file. Raises CannotEstimate for an unknown quantisation or a shape without matrices."""
    if not shape.matrices:
        raise CannotEstimate("The model's matrices are not known, so its GGUF files cannot be sized.")
    name, is_own_mix = quantisation_name(quantisation)
    total = sum(_matrix_bytes(matrix, shape, name) for matrix in shape.matrices if matrix.name not in _SEPARATE)
    ahead = _guessing_layer_bytes(shape, name) if shape.family in _GUESSES_AHEAD else 0.0
    size = round(total + ahead + shape.vocab_size * _VOCABULARY_BYTES)
    spread = 0.12 if is_own_mix else 0.03 if shape.is_moe else 0.01
    above = _TINY_MIX_ABOVE if is_own_mix and TYPE_BITS[QUANTISATIONS[name]] < 3 else spread
    confidence: Confidence = "low" if is_own_mix or shape.confidence == "low" else "medium" if shape.is_moe else "high"
    bits = total * 8 / max(1, shape.parameters)
    low = round((size - ahead) * (1 - spread))
    return GgufSize(name, low, size, round(size * (1 + above)), bits, confidence, is_own_mix)


def _guessing_layer_bytes(shape: ModelShape, name: str) -> float:
    """One more layer of experts, a matrix that joins two states, and an embedding and a head at the usual type."""
    layers = max((each.count for each in shape.matrices if each.name == ROUTER), default=1)
    parts = [each for each in shape.matrices if each.name.startswith("attn_") or each.name == ROUTER]
    parts += [each for each in shape.matrices if each.name.endswith(("_exps", "_shexp"))]
    layer = sum(_matrix_bytes(each, shape, name) for each in parts) / layers
    own = 2 * shape.hidden_size * (shape.hidden_size + shape.vocab_size)
    return layer + own * TYPE_BITS[QUANTISATIONS[name]] / 8


def _matrix_bytes(matrix: Matrix, shape: ModelShape, name: str) -> float:
    if matrix.is_vector or matrix.name in _NEVER:
        return matrix.parameters * 4.0
    if matrix.count == 1 or matrix.name in (EMBEDDING, OUTPUT):
        return matrix.parameters * TYPE_BITS[_stored_type(matrix, shape, name, 0, 1)] / 8
    layers = min(matrix.count, shape.layers)
    if shape.is_moe and matrix.name.endswith("_exps"):
        layers = max(1, matrix.count // shape.experts)
    bits = sum(TYPE_BITS[_stored_type(matrix, shape, name, layer, layers)] for layer in range(layers))
    return matrix.parameters / layers * bits / 8


def _file_name(matrix: Matrix, shape: ModelShape) -> str:
    """The tensor's name in the file: tied embeddings are treated as the output, fused projections as one."""
    if matrix.name == EMBEDDING and shape.tied_embeddings:
        return OUTPUT
    return "attn_qkv" if matrix.name in ("attn_q", "attn_k", "attn_v") and shape.family in _FUSED else matrix.name


def _stored_type(matrix: Matrix, shape: ModelShape, name: str, layer: int, layers: int) -> str:
    if shape.family in _KEEPS_MXFP4 and matrix.name in EXPERTS:
        return "MXFP4"
    tensor = Tensor(
        name=_file_name(matrix, shape),
        columns=matrix.columns,
        layer=layer,
        layers=layers,
        queries_per_kv=shape.attention_heads // max(1, shape.kv_heads),
        experts=shape.experts,
        is_70b=shape.layers == 80 and shape.family in ("llama", "qwen2"),
        is_falcon=shape.family == "falcon",
    )
    chosen = tensor_type(tensor, name, QUANTISATIONS[name])
    if chosen in _SMALL_BLOCKS or matrix.columns % 256 == 0:
        return chosen if matrix.columns % 32 == 0 or chosen in ("F32", "F16", "BF16") else "F16"
    return _FALLBACK.get(chosen, "IQ4_NL") if matrix.columns % 32 == 0 else "F16"
