"""The header of a GGUF file: its metadata and its tensors, without reading one of them.

Format: ggml-org/ggml, docs/gguf.md, versions 2 and 3, little-endian; block sizes of ggml-common.h. Nothing the
header says is believed before it adds up, and long lists (a vocabulary) are counted, not kept.
"""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

from apps.engines.file_headers import BadHeader, BoundedReader

MOST_HEADER_BYTES = 64_000_000  # a vocabulary of 260,000 with its merges takes a tenth of it
MOST_KEYS, MOST_TENSORS, MOST_TEXTS = 10_000, 1_000_000, 2_000_000
MOST_NESTING, KEPT_VALUES = 2, 1024
_KEY_BYTES, _TEXT_BYTES, _NAME_BYTES = 65_535, 4_000_000, 256
# id -> name, weights in a block, bytes of a block
TENSOR_TYPES: dict[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 9: ("Q8_1", 32, 36), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210), 15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82), 23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4), 27: ("I64", 1, 8), 28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56), 30: ("BF16", 1, 2), 34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66), 39: ("MXFP4", 32, 17),
}  # fmt: skip
# general.file_type -> name (LLAMA_FTYPE of include/llama.h, ggml-org/llama.cpp)
FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M",
    13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS",
    21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S",
    29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4_MOE",
}  # fmt: skip
# id of a value's type -> how struct reads it
_NUMBERS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_TEXT, _LIST = 8, 9


@dataclass(frozen=True, slots=True)
class GgufTensor:
    shape: tuple[int, ...]
    type: str
    begin: int  # in bytes after the header
    size_bytes: int

    @property
    def elements(self) -> int:
        return prod(self.shape)


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """`metadata` by key; a list of more than KEPT_VALUES, or of texts, stands as its length."""

    version: int
    metadata: dict[str, Any]
    tensors: dict[str, GgufTensor]

    @property
    def architecture(self) -> str:
        return str(self.metadata.get("general.architecture", ""))

    @property
    def parameters(self) -> int:
        return sum(tensor.elements for tensor in self.tensors.values())

    @property
    def usual_type(self) -> str:
        """The type that holds most of the weights, such as Q4_K."""
        held: Counter[str] = Counter()
        for tensor in self.tensors.values():
            held[tensor.type] += tensor.elements
        return held.most_common(1)[0][0] if held else ""

    @property
    def file_type(self) -> str:
        """The mix that its maker chose, such as Q4_K_M; empty where the header does not say."""
        kind = self.metadata.get("general.file_type")
        return FILE_TYPES.get(kind, "") if type(kind) is int else ""

    def of_architecture(self, name: str) -> Any:
        """A value under the architecture's own prefix, such as block_count; None where there is none."""
        return self.metadata.get(f"{self.architecture}.{name}")


def read_gguf_file(path: Path) -> GgufHeader:
    """Raises BadHeader naming the file."""
    try:
        with path.open("rb") as file:
            return read_gguf(file, path.stat().st_size)
    except BadHeader as error:
        raise BadHeader(f"{path.name}: {error}") from error


def read_gguf(file: BinaryIO, file_bytes: int) -> GgufHeader:
    """Raises BadHeader; reads at most MOST_HEADER_BYTES."""
    reader = BoundedReader(file, file_bytes, MOST_HEADER_BYTES)
    if reader.take(4, "The first word") != b"GGUF":
        raise BadHeader("It does not begin with GGUF.")
    version = reader.number(4, "The version")
    if version not in (2, 3):
        raise BadHeader(f"It is GGUF version {version}; versions 2 and 3 are known.")
    tensor_count = _count(reader, "tensors", MOST_TENSORS, each_bytes=24)
    key_count = _count(reader, "keys", MOST_KEYS, each_bytes=12)
    metadata = _metadata(reader, key_count)
    alignment = metadata.get("general.alignment", 32)
    if type(alignment) is not int or not 0 < alignment <= 2**20 or alignment & (alignment - 1):
        raise BadHeader(f"general.alignment is {str(alignment)[:40]}; it must be a power of two up to 1,048,576.")
    tensors = _tensors(reader, tensor_count, alignment)
    data_begins = -(-reader.position // alignment) * alignment
    _check_layout(tensors, file_bytes - data_begins)
    return GgufHeader(version, metadata, tensors)


def _count(reader: BoundedReader, what: str, most: int, *, each_bytes: int) -> int:
    """Refused where so many could not be in the bytes that are left."""
    count = reader.number(8, f"The number of {what}")
    if count > most or count * each_bytes > reader.left:
        raise BadHeader(f"It claims {count:,} {what}, more than it can hold.")
    return count


def _metadata(reader: BoundedReader, count: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    texts = _Budget(MOST_TEXTS)
    for _ in range(count):
        key = _text(reader, "A key", _KEY_BYTES)
        if key in found:
            raise BadHeader(f"The key {key[:60]!r} appears twice.")
        found[key] = _value(reader, reader.number(4, f"The type of {key[:60]!r}"), key[:60], texts, nesting=0)
    return found


class _Budget:
    """How many texts the lists of a header may still have."""

    def __init__(self, left: int) -> None:
        self.left = left

    def spend(self, count: int, key: str) -> None:
        if count > self.left:
            raise BadHeader(f"{key!r} has more than {MOST_TEXTS:,} texts.")
        self.left -= count


def _text(reader: BoundedReader, what: str, most: int) -> str:
    length = reader.number(8, f"The length of {what.lower()}")
    if length > most:
        raise BadHeader(f"{what} is {length:,} bytes long; at most {most:,} are allowed.")
    try:
        return reader.take(length, what).decode()
    except UnicodeDecodeError:
        raise BadHeader(f"{what} before byte {reader.position:,} is not UTF-8.") from None


def _value(reader: BoundedReader, kind: int, key: str, texts: _Budget, *, nesting: int) -> Any:
    if kind in _NUMBERS:
        form = _NUMBERS[kind]
        return struct.unpack(form, reader.take(struct.calcsize(form), f"The value of {key!r}"))[0]
    if kind == _TEXT:
        return _text(reader, f"The text of {key!r}", _TEXT_BYTES)
    if kind != _LIST:
        raise BadHeader(f"{key!r} has the value type {kind}, which is not known.")
    if nesting >= MOST_NESTING:
        raise BadHeader(f"{key!r} is nested more than {MOST_NESTING} lists deep.")
    return _list(reader, key, texts, nesting=nesting + 1)


def _list(reader: BoundedReader, key: str, texts: _Budget, *, nesting: int) -> Any:
    kind, count = reader.number(4, f"The type of {key!r}"), reader.number(8, f"The length of {key!r}")
    if kind in _NUMBERS:
        size = struct.calcsize(_NUMBERS[kind])
        if count > KEPT_VALUES:
            reader.skip(count * size, f"The list {key!r}")
            return count
        data = reader.take(count * size, f"The list {key!r}")
        return [value for (value,) in struct.iter_unpack(_NUMBERS[kind], data)]
    texts.spend(count, key)
    if count * 8 > reader.left:
        raise BadHeader(f"{key!r} claims {count:,} entries, more than the file can hold.")
    for _ in range(count):
        if kind == _TEXT:
            reader.skip(reader.number(8, f"A length in {key!r}"), f"A text in {key!r}")
        else:
            _value(reader, kind, key, texts, nesting=nesting)
    return count


def _tensors(reader: BoundedReader, count: int, alignment: int) -> dict[str, GgufTensor]:
    found: dict[str, GgufTensor] = {}
    for _ in range(count):
        name = _text(reader, "A tensor's name", _NAME_BYTES)
        if name in found:
            raise BadHeader(f"The tensor {name!r} appears twice.")
        found[name] = _tensor(reader, name, alignment)
    return found


def _tensor(reader: BoundedReader, name: str, alignment: int) -> GgufTensor:
    dimensions = reader.number(4, f"The dimensions of {name!r}")
    if dimensions > 4:
        raise BadHeader(f"{name!r} has {dimensions:,} dimensions; at most 4 are allowed.")
    shape = tuple(reader.number(8, f"The shape of {name!r}") for _ in range(dimensions))
    kind, begin = reader.number(4, f"The type of {name!r}"), reader.number(8, f"The place of {name!r}")
    if kind not in TENSOR_TYPES:
        raise BadHeader(f"{name!r} has the tensor type {kind}, which is not known.")
    type_name, weights, block_bytes = TENSOR_TYPES[kind]
    elements = prod(shape)
    if elements >= 2**48 or (shape[0] if shape else 1) % weights:
        raise BadHeader(f"{name!r} has a shape that {type_name} cannot hold.")
    if begin % alignment:
        raise BadHeader(f"{name!r} begins at byte {begin:,}, which {alignment} does not divide.")
    return GgufTensor(shape, type_name, begin, elements // weights * block_bytes)


def _check_layout(tensors: dict[str, GgufTensor], data_bytes: int) -> None:
    """No two share a byte, and all lie within the file."""
    at = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].size_bytes)):
        if tensor.begin < at:
            raise BadHeader(f"{name!r} overlaps the tensor before it.")
        at = tensor.begin + tensor.size_bytes
        if at > data_bytes:
            raise BadHeader(f"{name!r} ends at byte {at:,} of the data; the file has {max(0, data_bytes):,}.")
