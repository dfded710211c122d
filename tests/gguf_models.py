"""Whole GGUF files of a tiny llama, with every tensor it needs and values that are all alike."""

from __future__ import annotations

import struct

from apps.engines.gguf_header import TENSOR_TYPES
from tests.engines.header_files import ALIGNMENT, gguf_bytes, text_bytes

HIDDEN, LAYERS, HEADS, KV_HEADS, FEED, VOCABULARY, CONTEXT = 256, 2, 4, 2, 512, 320, 2048
_F32, _TEXT, _LIST, _U32 = 0, 8, 9, 4


def tiny_gguf(kind: int = 12) -> bytes:
    """Matrices of the tensor type `kind` (12 is Q4_K), vectors in 32 bits, embeddings tied."""
    return _file(_metadata(), _tensors(kind))


def tiny_gguf_parts(kind: int = 12) -> list[bytes]:
    """The same model in two parts, as llama-gguf-split makes them: the first has the metadata."""
    tensors = _tensors(kind)
    return [_file(_metadata(), tensors[:5]), _file([_text("general.architecture", "llama")], tensors[5:])]


def _metadata() -> list[tuple[str, int, bytes]]:
    numbers = {
        "block_count": LAYERS, "context_length": CONTEXT, "embedding_length": HIDDEN, "feed_forward_length": FEED,
        "attention.head_count": HEADS, "attention.head_count_kv": KV_HEADS,
    }  # fmt: skip
    tokens = struct.pack("<IQ", _TEXT, VOCABULARY) + b"".join(text_bytes(f"t{n}") for n in range(VOCABULARY))
    return [
        _text("general.architecture", "llama"),
        *((f"llama.{name}", _U32, struct.pack("<I", number)) for name, number in numbers.items()),
        ("tokenizer.ggml.tokens", _LIST, tokens),
        _text("tokenizer.chat_template", "{{ messages }}"),
    ]


def _text(key: str, value: str) -> tuple[str, int, bytes]:
    return key, _TEXT, text_bytes(value)


def _tensors(kind: int) -> list[tuple[str, tuple[int, ...], int]]:
    small = HIDDEN // HEADS * KV_HEADS
    found: list[tuple[str, tuple[int, ...], int]] = [("token_embd.weight", (HIDDEN, VOCABULARY), kind)]
    for layer in range(LAYERS):
        matrices = {
            "attn_q": (HIDDEN, HIDDEN), "attn_k": (HIDDEN, small), "attn_v": (HIDDEN, small),
            "attn_output": (HIDDEN, HIDDEN), "ffn_gate": (HIDDEN, FEED), "ffn_up": (HIDDEN, FEED),
            "ffn_down": (FEED, HIDDEN),
        }  # fmt: skip
        found += [(f"blk.{layer}.{name}.weight", shape, kind) for name, shape in matrices.items()]
        found += [(f"blk.{layer}.{name}.weight", (HIDDEN,), _F32) for name in ("attn_norm", "ffn_norm")]
    return [*found, ("output_norm.weight", (HIDDEN,), _F32)]


def _file(metadata: list[tuple[str, int, bytes]], tensors: list[tuple[str, tuple[int, ...], int]]) -> bytes:
    placed, at = [], 0
    for name, shape, kind in tensors:
        _, weights, block = TENSOR_TYPES[kind]
        elements = shape[0] * (shape[1] if len(shape) > 1 else 1)
        placed.append((name, shape, kind, at))
        at += -(-(elements // weights * block) // ALIGNMENT) * ALIGNMENT
    return gguf_bytes(metadata, placed, at)
