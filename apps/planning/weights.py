"""Bytes of weights and bytes of KV cache per token.

Quantised linear layers: bits per weight with the group's scale and zero point (AWQ and GPTQ at group 128:
4 + 16/128 + 4/128; NF4 with double quantisation: QLoRA, arXiv 2305.14314, 4 + 0.127; MXFP4: 4 + 8/32).
Embeddings and output head stay at 16 bits in all of these formats.
"""

from __future__ import annotations

from apps.planning.shapes import CannotEstimate, ModelShape

# precision -> (bits per weight in the linear layers, bits in embeddings and head)
PRECISIONS: dict[str, tuple[float, float]] = {
    "fp32": (32, 32),
    "bf16": (16, 16),
    "fp16": (16, 16),
    "fp8": (8, 16),
    "int8": (8, 16),
    "int4-awq": (4.15625, 16),
    "int4-gptq": (4.15625, 16),
    "nf4": (4.127, 16),
    "mxfp4": (4.25, 16),
}
_NAMES = {
    "float32": "fp32", "float": "fp32", "bfloat16": "bf16", "float16": "fp16", "half": "fp16",
    "auto": "bf16", "": "bf16", "awq": "int4-awq", "gptq": "int4-gptq", "bnb-4bit": "nf4",
    "int8-w8a8": "int8",
}  # fmt: skip
_KV_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2, "fp8": 1, "fp8_e4m3": 1, "fp8_e5m2": 1}


def precision_name(name: str) -> str:
    """One spelling for each precision; raises CannotEstimate for an unknown one."""
    known = _NAMES.get(name.lower(), name.lower())
    if known not in PRECISIONS:
        raise CannotEstimate(f"Precision {name!r} is not known; use one of {', '.join(PRECISIONS)}.")
    return known


def weights_bytes(
    *,
    shape: ModelShape | None = None,
    precision: str = "bf16",
    file_bytes: int | None = None,
    stored_precision: str | None = None,
) -> int:
    """Bytes of all weights, over all GPUs together.

    From the files where they are known (exact), scaled when the engine loads them at another plain
    precision than they are stored in; else from the shape.
    """
    target = precision_name(precision)
    if file_bytes is not None:
        stored = precision_name(stored_precision or precision)
        if stored == target:
            return file_bytes
        if {stored, target} <= {"fp32", "bf16", "fp16"}:
            return round(file_bytes * PRECISIONS[target][0] / PRECISIONS[stored][0])
    if shape is None:
        raise CannotEstimate("Neither the weight files nor the model's shape are known.")
    linear_bits, embedding_bits = PRECISIONS[target]
    embedding = shape.embedding_parameters
    return round(((shape.parameters - embedding) * linear_bits + embedding * embedding_bits) / 8)


def kv_bytes_per_token(
    shape: ModelShape, *, precision: str = "bf16", kv_cache_dtype: str = "auto", tensor_parallel: int = 1
) -> int:
    """Bytes of keys and values one token costs on EACH GPU.

    2 x layers x KV heads on this GPU x head size x bytes. A head that cannot be split is copied, so a GPU
    holds at least one. `auto` follows the precision that the engine computes in, not that of the weights.
    """
    if tensor_parallel < 1 or shape.attention_heads % tensor_parallel:
        raise CannotEstimate(
            f"Tensor parallel {tensor_parallel} does not divide the {shape.attention_heads} attention heads."
        )
    if kv_cache_dtype == "auto":
        size = 4 if precision_name(precision) == "fp32" else 2
    else:
        size = _KV_BYTES.get(_NAMES.get(kv_cache_dtype, kv_cache_dtype), 0)
        if not size:
            raise CannotEstimate(f"KV cache type {kv_cache_dtype!r} is not known; use auto, bf16, fp16 or fp8.")
    heads = max(1, -(-shape.kv_heads // tensor_parallel))
    return 2 * shape.layers * heads * shape.head_dim * size
