"""The header of a .safetensors file: which tensors it holds, without reading one of them.

Format: eight bytes of length, a JSON object, then the tensors back to back without holes
(huggingface/safetensors, README, "Format"). Nothing the header says is believed before it adds up.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, TypeGuard

from apps.engines.file_headers import BadHeader, BoundedReader

MOST_HEADER_BYTES = 25_000_000  # a thousand experts in one file take a tenth of it; the format allows 100 MB
MOST_DIMENSIONS, LARGEST_DIMENSION = 16, 2**40
_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64,
    "C64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """`begin` and `end` in bytes after the header."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def elements(self) -> int:
        return prod(self.shape)


def read_safetensors_file(path: Path) -> dict[str, StoredTensor]:
    """By name. Raises BadHeader naming the file."""
    try:
        with path.open("rb") as file:
            return read_safetensors(file, path.stat().st_size)
    except BadHeader as error:
        raise BadHeader(f"{path.name}: {error}") from error


def read_safetensors(file: BinaryIO, file_bytes: int) -> dict[str, StoredTensor]:
    """The tensors by name. Raises BadHeader; reads at most MOST_HEADER_BYTES."""
    reader = BoundedReader(file, file_bytes, MOST_HEADER_BYTES + 8)
    length = reader.number(8, "The length of the header")
    header = _json(reader.take(length, "The header"))
    header.pop("__metadata__", None)
    tensors = {name: _tensor(name, entry) for name, entry in header.items()}
    _check_layout(tensors, file_bytes - 8 - length)
    return tensors


def _json(text: bytes) -> dict[str, Any]:
    try:
        loaded = json.loads(text.decode(), object_pairs_hook=_without_twins)
    except (ValueError, RecursionError) as error:
        raise BadHeader(f"The header is not JSON: {str(error)[:80] or 'nested too deeply'}.") from error
    if not isinstance(loaded, dict):
        raise BadHeader("The header is not a JSON object.")
    return loaded


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name appears twice")
    return found


def _tensor(name: str, entry: Any) -> StoredTensor:
    shown = name[:60]
    if not isinstance(entry, dict):
        raise BadHeader(f"{shown!r} is not described.")
    dtype, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in _BITS:
        raise BadHeader(f"{shown!r} has the type {str(dtype)[:20]!r}, which is not known.")
    if not _are_sizes(shape, LARGEST_DIMENSION) or len(shape) > MOST_DIMENSIONS:
        raise BadHeader(f"{shown!r} has a shape that is none.")
    if not _are_sizes(offsets, 2**62) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise BadHeader(f"{shown!r} has data_offsets that are none.")
    tensor = StoredTensor(dtype, tuple(shape), offsets[0], offsets[1])
    if (tensor.end - tensor.begin) * 8 != tensor.elements * _BITS[dtype]:
        raise BadHeader(f"{shown!r} takes {tensor.end - tensor.begin:,} bytes, which its shape and type do not make.")
    return tensor


def _are_sizes(values: Any, largest: int) -> TypeGuard[list[int]]:
    return isinstance(values, list) and all(type(each) is int and 0 <= each <= largest for each in values)


def _check_layout(tensors: dict[str, StoredTensor], data_bytes: int) -> None:
    """One after the other, without holes, to the end of the file."""
    at = 0
    for tensor in sorted(tensors.values(), key=lambda each: (each.begin, each.end)):
        if tensor.begin != at:
            raise BadHeader(f"The tensors leave a hole or overlap at byte {min(at, tensor.begin):,} of the data.")
        at = tensor.end
    if at != data_bytes:
        raise BadHeader(f"The tensors take {at:,} bytes; the file has {data_bytes:,} after its header.")
