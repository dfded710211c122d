"""Bytes of weights: of a whole model, and of the part that each GPU holds.

From the files where they are known; else every matrix at the bits of its precision, less what stays at 16 bits:
embeddings, head, router and vectors always, further matrices where the model's quantization_config says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from apps.planning.kept_modules import kept_shares
from apps.planning.precisions import PRECISIONS, Precision, precision_name, read_precision
from apps.planning.shapes import EMBEDDING, EXPERTS, OUTPUT, UNQUANTISED, CannotEstimate, Matrix, ModelShape

# Tensor parallel copies these to every GPU.
_COPIED = frozenset({
    "attn_kv_a_mqa", "attn_q_a", "indexer_q", "indexer_k", "indexer_w", "ffn_gate_inp", "norm", "vector",
    "shared_gate", "position_embd",
})  # fmt: skip
EXPERTS_ONLY = frozenset({"mxfp4", "int4-g32"})  # gpt-oss and Kimi-K2-Thinking quantise nothing else
_PLAIN = frozenset({"fp32", "bf16", "fp16"})
_LOADED_AS = {"attn_k": "attn_q", "attn_v": "attn_q", "ffn_up": "ffn_gate", "ffn_up_exps": "ffn_gate_exps"}
_PACKED = frozenset({"attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"})
_STEP_BYTES, _LARGE_BLOCK_BYTES = 2 * 2**20, 10 * 2**20
_LONGEST_TABLE = 2**17
_MXFP4_PADDING = 256  # vLLM's older MXFP4 kernels fill the hidden size up to a multiple of this
_MXFP4_UNPADDED_SINCE = (0, 20)


def weights_bytes(
    *,
    shape: ModelShape | None = None,
    precision: str = "bf16",
    file_bytes: int | None = None,
    stored_precision: str | None = None,
    quantization: Mapping[str, Any] | None = None,
) -> int:
    """Bytes of all weights, over all GPUs together. Raises CannotEstimate without files or shape.

    Files are exact, and scaled when the engine loads them at another plain precision than they are stored in.
    """
    target = precision_name(precision)
    if file_bytes is not None:
        stored = precision_name(stored_precision or precision)
        if stored == target:
            return file_bytes
        if {stored, target} <= _PLAIN:
            return round(file_bytes * PRECISIONS[target].bits / PRECISIONS[stored].bits)
    if shape is None:
        raise CannotEstimate("Neither the weight files nor the model's shape are known.")
    return round(sum(_matrix_bytes(shape, PRECISIONS[target], quantization)))


def weights_on_gpu(
    shape: ModelShape,
    *,
    precision: str = "bf16",
    total_bytes: int | None = None,
    quantization: Mapping[str, Any] | None = None,
    tensor_parallel: int = 1,
    pipeline_parallel: int = 1,
    version: tuple[int, int] = (99, 0),
) -> int:
    """Bytes on the fullest GPU. `total_bytes` replaces the sum over the shape, which then only says how it splits."""
    kind = read_precision(precision)
    kind = PRECISIONS["bf16"] if kind.gguf else kind
    each_bytes = _matrix_bytes(shape, kind, quantization)
    padded = _padding(shape, kind, version)
    whole, part = 0.0, 0.0
    held: list[tuple[Matrix, float]] = []
    packed = int(kind.bits) / kind.bits  # scales and zeros lie in small blocks
    for matrix, size in zip(shape.matrices, each_bytes, strict=True):
        whole += size
        loaded = size * padded if matrix.name in EXPERTS else size
        share = loaded * _share(matrix, shape, tensor_parallel, pipeline_parallel)
        part += share
        held.append((matrix, share * packed if matrix.name in _PACKED else share))
    exact = part * (total_bytes / whole if total_bytes and whole else 1.0)
    return round(exact + _allocation_loss(shape, held, version) + _rotation_bytes(shape))


def _allocation_loss(shape: ModelShape, held: list[tuple[Matrix, float]], version: tuple[int, int]) -> float:
    """What torch's allocator adds: it takes large blocks in steps of 2 MiB.

    Engines load query, key and value as one block, and gate and up as one. Before 0.12 vLLM counted what was handed
    out, which leaves a rest above 1 MiB to others; since then it counts what is taken from the GPU.
    """
    blocks: dict[str, float] = {}
    for matrix, size in held:
        if matrix.is_vector or not matrix.count:
            continue
        name = _LOADED_AS.get(matrix.name, matrix.name)
        copies = 1 if matrix.name in (EMBEDDING, OUTPUT) or matrix.count == 1 else shape.layers
        blocks[name] = blocks.get(name, 0.0) + size / copies
    loss = 0.0
    for name, size in blocks.items():
        rest = -size % _STEP_BYTES
        if size < _LARGE_BLOCK_BYTES or (version < (0, 12) and rest > _STEP_BYTES / 2):
            continue
        loss += rest * (1 if name in (EMBEDDING, OUTPUT) else shape.layers)
    return loss


def _rotation_bytes(shape: ModelShape) -> int:
    """The table of rotary positions: a 16-bit sine and cosine for each position of the context."""
    return min(shape.max_context, _LONGEST_TABLE) * shape.head_dim * 2


def _matrix_bytes(shape: ModelShape, kind: Precision, quantization: Mapping[str, Any] | None) -> list[float]:
    kept = kept_shares(quantization, shape.layers, shape.family)
    if kind.name in EXPERTS_ONLY and shape.is_moe:
        kept |= {each.name: 1.0 for each in shape.matrices if each.name not in EXPERTS}
    return [_bytes_of(matrix, kind, kept) for matrix in shape.matrices]


def _bytes_of(matrix: Matrix, kind: Precision, kept: Mapping[str, float]) -> float:
    untouched = matrix.is_vector or matrix.name in UNQUANTISED
    share = 1.0 if untouched else kept.get(matrix.name, 0.0)
    bits = share * kind.other_bits + (1 - share) * kind.bits
    return matrix.parameters * bits / 8


def _share(matrix: Matrix, shape: ModelShape, tensor_parallel: int, pipeline_parallel: int) -> float:
    """The part of a matrix that the fullest GPU holds."""
    if matrix.name in ("attn_k", "attn_v"):
        split = max(1, -(-shape.kv_heads // tensor_parallel)) / shape.kv_heads
    else:
        split = 1.0 if matrix.name in _COPIED else 1 / tensor_parallel
    if pipeline_parallel == 1:
        return split
    if matrix.count == 1:  # embeddings stand on the first stage, the head on the last: the last is the fullest
        return split if matrix.name == OUTPUT or shape.tied_embeddings else 0.0
    return split * -(-shape.layers // pipeline_parallel) / shape.layers


def _padding(shape: ModelShape, kind: Precision, version: tuple[int, int]) -> float:
    if kind.name != "mxfp4" or version >= _MXFP4_UNPADDED_SINCE:
        return 1.0
    return -(-shape.hidden_size // _MXFP4_PADDING) * _MXFP4_PADDING / shape.hidden_size
