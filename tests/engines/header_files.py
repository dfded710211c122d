"""Tiny weight files with whatever header a test wants, and random damage to them."""

from __future__ import annotations

import io
import json
import random
import struct
from collections.abc import Callable, Sequence
from typing import Any

from apps.engines.file_headers import BadHeader
from apps.engines.gguf_header import read_gguf
from apps.engines.safetensors_header import read_safetensors

Value = tuple[int, Any]  # the id of a type, and a value of it
ALIGNMENT = 32


def safetensors_bytes(header: Any, data_bytes: int) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(data_bytes)


def text_bytes(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def gguf_bytes(
    metadata: Sequence[tuple[str, int, bytes]],
    tensors: Sequence[tuple[str, tuple[int, ...], int, int]],
    data_bytes: int,
    *,
    version: int = 3,
) -> bytes:
    """`metadata` as (key, type, packed value), `tensors` as (name, shape, type, begin)."""
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(metadata))
    for key, kind, packed in metadata:
        head += text_bytes(key) + struct.pack("<I", kind) + packed
    for name, shape, kind, begin in tensors:
        head += text_bytes(name) + struct.pack("<I", len(shape))
        head += b"".join(struct.pack("<Q", size) for size in shape) + struct.pack("<IQ", kind, begin)
    return head + bytes(-len(head) % ALIGNMENT) + bytes(data_bytes)


GOOD_SAFETENSORS = safetensors_bytes(
    {
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "BF16", "shape": [4, 8], "data_offsets": [0, 64]},
        "b": {"dtype": "F32", "shape": [], "data_offsets": [64, 68]},
    },
    68,
)
TOKENS = struct.pack("<IQ", 8, 3) + text_bytes("<s>") + text_bytes("a") + text_bytes("é")
GOOD_GGUF = gguf_bytes(
    [
        ("general.architecture", 8, text_bytes("llama")),
        ("llama.context_length", 4, struct.pack("<I", 2048)),
        ("llama.attention.head_count_kv", 9, struct.pack("<IQ2i", 5, 2, 4, 4)),
        ("tokenizer.ggml.tokens", 9, TOKENS),
    ],
    [("token_embd.weight", (256, 2), 12, 0), ("norm.weight", (8,), 0, 288)],
    288 + 32,
)
READERS: dict[str, tuple[bytes, Callable[[bytes], object]]] = {
    "safetensors": (GOOD_SAFETENSORS, lambda data: read_safetensors(io.BytesIO(data), len(data))),
    "gguf": (GOOD_GGUF, lambda data: read_gguf(io.BytesIO(data), len(data))),
}
_EDGES = (0, 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1)


def damaged(good: bytes, chance: random.Random) -> bytes:
    """Cut, flipped, doubled, or with a number at its edge somewhere."""
    data = bytearray(good)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data)) if data else 0
        match chance.randrange(5):
            case 0:
                del data[at:]
            case 1 if data:
                data[at] ^= 1 << chance.randrange(8)
            case 2:
                data[at : at + 8] = chance.choice(_EDGES).to_bytes(8, "little")
            case 3:
                data[at:at] = data[at : at + chance.randint(1, 64)]
            case 4:
                data[at:at] = chance.choice((b"[" * 5000, b'{"a":' * 500, bytes(chance.randint(1, 300))))
    return bytes(data)


def survives(read: Callable[[bytes], object], data: bytes) -> bool:
    """True where it was read, False where it was refused in words; anything else is raised."""
    try:
        read(data)
    except BadHeader:
        return False
    return True
