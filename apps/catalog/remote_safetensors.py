"""What the safetensors of a repository hold by their own headers, before any weights are fetched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from apps.engines.safetensors_header import StoredTensor

BLOCK_BYTES = 100_000  # most headers end within one
# Of one header. The largest ones known take 2.5 MB; a hostile one takes 26 times its size once it is read as JSON.
MOST_HEADER_BYTES = 4_000_000
MOST_FILES = 200  # of one model: the largest ones known have some 160


@dataclass(frozen=True)
class StoredWeights:
    """Of all files together. `parameters` counts packed quantised weights as they are stored; like `bytes_by_dtype` it
    is of the files whose headers were read, while `file_bytes` is of all."""

    parameters: int
    bytes_by_dtype: dict[str, int]  # most first; BF16, F8_E4M3 ... as the format names them
    file_bytes: int
    not_read_files: int = 0
    not_read_bytes: int = 0  # the size of those files

    @property
    def main_dtype(self) -> str:
        return next(iter(self.bytes_by_dtype), "")


def sum_of_file(tensors: Mapping[str, StoredTensor], file_bytes: int) -> StoredWeights:
    taken: Counter[str] = Counter()
    for tensor in tensors.values():
        taken[tensor.dtype] += tensor.end - tensor.begin
    return StoredWeights(sum(each.elements for each in tensors.values()), dict(taken), file_bytes)


def not_read(file_bytes: int) -> StoredWeights:
    """A file of which only the size is known."""
    return StoredWeights(0, {}, file_bytes, not_read_files=1, not_read_bytes=file_bytes)


def sum_of_files(files: Iterable[StoredWeights]) -> StoredWeights:
    parts, taken = list(files), Counter[str]()
    for part in parts:
        taken.update(part.bytes_by_dtype)
    return StoredWeights(
        sum(part.parameters for part in parts),
        dict(taken.most_common()),
        sum(part.file_bytes for part in parts),
        sum(part.not_read_files for part in parts),
        sum(part.not_read_bytes for part in parts),
    )
