"""What vLLM needs besides weights and KV cache, with a range. Bytes on each GPU, or in RAM on the CPU device.

The activation peak is what the profiling run sees: the larger of one batch inside a layer, and the sampler, which
before 0.19 sorted the logits of all sequences (9.59 float32 copies of sequences x vocabulary, to which the batch's
hidden states add: within 0.5 % of ten start-up logs, vocabularies of 100k to 201k, cards of 6 to 80 GB). Later
samplers sort less; compiled runs keep more than eager ones. Defaults of batch and sequences: vllm
engine/arg_utils.py. CUDA graphs count against the cache from 0.21 on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from apps.planning.shapes import ModelShape

GIB = 2**30
Range = tuple[float, float, float]
_SORT_COPIES_OLD: Range = (9.4, 9.59, 9.9)
_SORT_COPIES_BETWEEN: Range = (3.0, 6.0, 9.6)  # 0.19 and 0.20: one log, 5.8
_SORT_COPIES_COMPILED: Range = (4.0, 7.1, 9.6)  # three logs: 7.0 to 7.2 of at most 512 sequences
_SORT_COPIES_EAGER: Range = (1.0, 2.0, 4.0)  # two logs imply 1.3 to 2.4
_GRAPHS_IN_BUDGET_SINCE = (0, 21)
_SAMPLED_AT_ONCE = 512  # by the later samplers
# NCCL and CUDA contexts by tensor parallel size, GiB.
_BUFFERS: dict[int, Range] = {1: (0.02, 0.2, 0.4), 2: (0.3, 0.55, 1.0), 4: (0.4, 0.7, 1.5), 8: (0.5, 0.9, 2.0)}
_OLD_ENGINE_CHUNKS_FROM, _CHUNKS_SINCE = 32_768, (0, 6)
_OLD_ENGINE_SEQUENCES = 256  # its default; models that take images for each sequence run on it alone
_FIRST_V1 = (0, 8)  # the first in which the new engine was the default
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
# The first whole month of a minor release, by the dates of its tags; after the last month nothing is assumed.
_RELEASES: tuple[tuple[tuple[int, int], tuple[int, int]], ...] = (
    ((2023, 10), (0, 2)), ((2024, 2), (0, 3)), ((2024, 4), (0, 4)), ((2024, 7), (0, 5)), ((2024, 10), (0, 6)),
    ((2025, 2), (0, 7)), ((2025, 4), (0, 8)), ((2025, 6), (0, 9)), ((2025, 8), (0, 10)), ((2025, 10), (0, 11)),
    ((2025, 12), (0, 12)), ((2026, 1), (0, 13)), ((2026, 2), (0, 15)), ((2026, 3), (0, 16)),
)  # fmt: skip
_LAST_MONTH = (2026, 3)
# One measurement: 3.9 GB resident in all for a 135M float32 model with 1 GiB of KV cache, vLLM 0.32 on CPU.
_CPU_PROCESSES = (1.8e9, 2.25e9, 3.5e9)


@dataclass(frozen=True, slots=True)
class Overhead:
    """Low, middle and high estimate in bytes; `activation` and `buffers` are the middle's parts, graphs the rest."""

    low: int
    middle: int
    high: int
    activation: int = 0
    buffers: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """What the engine plans for: sequences at once, and tokens in one step."""

    sequences: int
    tokens: int


@lru_cache(maxsize=256)  # a fit table asks for one version hundreds of times
def parse_version(text: str) -> tuple[int, int] | None:
    """(0, 11) from "0.11.0"; None for free text such as "2026" or "any", which never is an error.

    A month, a year or the word "V0" stand for the releases of their time, "V1" for no older one than its first.
    """
    found = re.search(r"(?<![\d.])v?(\d{1,2})\.(\d{1,3})(?!\d)", text)
    if found:
        return int(found[1]), int(found[2])
    dated = _dated_version(text)
    if dated and re.search(r"\bV1\b", text, re.I):
        return max(dated, _FIRST_V1)
    return dated or ((0, 7) if re.search(r"\bV0\b", text, re.I) else None)


def _dated_version(text: str) -> tuple[int, int] | None:
    """The newest vLLM of the month that a log names instead, or one of the year; None after the months known."""
    year = re.search(r"\b(20\d\d)\b", text)
    if year is None:
        return None
    month = re.search(rf"\b({'|'.join(_MONTHS)})[a-z]*\.? 20", text, re.I)
    if month is None:
        by_year = {2023: (0, 2), 2024: (0, 6), 2025: (0, 10)}
        return by_year.get(int(year[1])) or ((0, 2) if int(year[1]) < 2023 else None)
    at = (int(year[1]), _MONTHS.index(month[1].lower()) + 1)
    if at > _LAST_MONTH:
        return None
    return max((version for since, version in _RELEASES if since <= at), default=(0, 1))


def default_utilisation(version: tuple[int, int]) -> float:
    """Share of the GPU that vLLM takes unless told: 0.92 since graphs count against it, 0.9 before."""
    return 0.92 if version >= _GRAPHS_IN_BUDGET_SINCE else 0.9


def planned_batch(
    *,
    total_bytes: int,
    gpu_name: str,
    context: int,
    version: tuple[int, int],
    max_num_seqs: int | None = None,
    max_num_batched_tokens: int | None = None,
) -> Batch:
    """The engine's defaults by GPU and version, or what was asked."""
    large = total_bytes >= 70 * GIB and "a100" not in gpu_name.lower()  # the engine's own rule
    largest = total_bytes >= 160 * GIB and version >= (0, 19)
    tokens = 16384 if largest else 8192 if large else 2048
    sequences = 1024 if large and version >= (0, 8) else 256
    if version < (0, 8):  # the old engine profiled one whole prompt, in chunks only beyond 32k
        chunked = context > _OLD_ENGINE_CHUNKS_FROM and version >= _CHUNKS_SINCE
        tokens = 512 if chunked else max(context, 2048)
    sequences = max_num_seqs or sequences
    return Batch(sequences, max(max_num_batched_tokens or tokens, min(sequences, 256)))


def gpu_overhead(
    shape: ModelShape,
    *,
    batch: Batch,
    version: tuple[int, int],
    tensor_parallel: int = 1,
    pipeline_parallel: int = 1,
    enforce_eager: bool = False,
) -> Overhead:
    """Activation peak + communication buffers + CUDA graphs."""
    hidden = batch.tokens * shape.hidden_size * 2
    layer = batch.tokens * _layer_values(shape) * 2 / tensor_parallel
    sequences = min(batch.sequences, _SAMPLED_AT_ONCE) if version >= _GRAPHS_IN_BUDGET_SINCE else batch.sequences
    logits = sequences * shape.vocab_size * 4
    if version < (0, 7) and batch.tokens <= 512:
        logits = 0  # a chunk of the old engine samples for few sequences
    images = shape.image_peak * (min(batch.sequences, _OLD_ENGINE_SEQUENCES) if shape.image_for_each else 1)
    peaks = [max(images, layer, copies * logits + hidden) for copies in _sort_copies(version, enforce_eager)]
    world = tensor_parallel * pipeline_parallel
    buffers = _BUFFERS[max(size for size in _BUFFERS if size <= world)]
    graphs = _graphs_gib(version, tensor_parallel, enforce_eager)
    low, middle, high = (
        round(peak + (buffer + graph) * GIB) for peak, buffer, graph in zip(peaks, buffers, graphs, strict=True)
    )
    return Overhead(low, middle, high, activation=round(peaks[1]), buffers=round(buffers[1] * GIB))


def _layer_values(shape: ModelShape) -> int:
    """Values a token holds inside one layer: three feed-forward and three hidden vectors."""
    if shape.is_moe:
        routed = shape.experts_used * (3 * shape.expert_size + shape.hidden_size)
        return routed + 3 * shape.hidden_size
    return 3 * (shape.ffn_size + shape.hidden_size)


def _sort_copies(version: tuple[int, int], enforce_eager: bool) -> Range:
    if version < (0, 19):
        return _SORT_COPIES_OLD
    if version < _GRAPHS_IN_BUDGET_SINCE:
        return _SORT_COPIES_BETWEEN
    return _SORT_COPIES_EAGER if enforce_eager else _SORT_COPIES_COMPILED


def _graphs_gib(version: tuple[int, int], tensor_parallel: int, enforce_eager: bool) -> Range:
    if enforce_eager or version < _GRAPHS_IN_BUDGET_SINCE:
        return (0.0, 0.0, 0.0)
    return (0.2, 0.5, 1.9) if tensor_parallel == 1 else (0.5, 1.5, 2.5)


def cpu_overhead(shape: ModelShape) -> Overhead:
    """The engine's processes with their libraries, and one layer's activations in float32."""
    layer = 2048 * 3 * (shape.ffn_size + shape.hidden_size) * 4
    low, middle, high = (round(base + layer) for base in _CPU_PROCESSES)
    return Overhead(low, middle, high)
