"""What vLLM needs besides weights and KV cache, with a range. Bytes on each GPU, or in RAM on the CPU device.

The GPU rule was derived from vLLM's own start-up logs (vllm-project/vllm #10517, #13596; llm-d-planner's
table of H100 boots); newer versions have fewer published logs, so their range is wide.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from apps.planning.shapes import ModelShape

GIB = 2**30
# The sampler's sort holds this many float32 copies of (sequences x vocabulary): low, middle, high.
_SORT_COPIES_OLD = (9.5, 9.7, 9.9)  # 0.6 to 0.19
_SORT_COPIES_NEW = (0.0, 5.0, 9.9)  # later: boots on record imply from under 1 to 7.2
_GRAPHS_IN_BUDGET_SINCE = (0, 21)
# One measurement: 3.9 GB resident in all for a 135M float32 model with 1 GiB of KV cache, vLLM 0.32 on CPU.
_CPU_PROCESSES = (1.8e9, 2.25e9, 3.5e9)


@dataclass(frozen=True, slots=True)
class Overhead:
    """Low, middle and high estimate in bytes."""

    low: int
    middle: int
    high: int


def parse_version(text: str) -> tuple[int, int] | None:
    """(0, 11) from "0.11.0"; None for free text such as "2026" or "V1 Apr 2025", which never is an error."""
    found = re.search(r"(?<![\d.])v?(\d{1,2})\.(\d{1,3})(?!\d)", text)
    return (int(found[1]), int(found[2])) if found else None


def gpu_overhead(
    shape: ModelShape,
    *,
    total_bytes: int,
    context: int,
    gpu_name: str = "",
    tensor_parallel: int = 1,
    max_num_seqs: int | None = None,
    enforce_eager: bool = False,
    engine_version: str = "",
) -> Overhead:
    """Activation peak + communication buffers + CUDA graphs. An unknown version counts as the newest."""
    version = parse_version(engine_version) or (99, 0)
    large = total_bytes >= 70 * GIB and "a100" not in gpu_name.lower()  # the engine's own rule for its defaults
    sequences = max_num_seqs or (1024 if large else 256)
    tokens = 8192 if large else 2048
    if version < (0, 8):  # the old engine profiled one whole prompt, in chunks only beyond 32k
        tokens = context if context <= 32768 else 512
    layer = tokens * 3 * (shape.ffn_size + shape.hidden_size) * 2 / tensor_parallel
    copies = _SORT_COPIES_OLD if version < (0, 20) else _SORT_COPIES_NEW
    peaks = [max(layer, k * sequences * shape.vocab_size * 4) for k in copies]
    buffers = (0.02, 0.15, 0.35) if tensor_parallel == 1 else (0.3, 0.55, 1.0)
    graphs = _graphs_gib(version, tensor_parallel, enforce_eager)
    low, middle, high = (
        round(peak + (buffer + graph) * GIB) for peak, buffer, graph in zip(peaks, buffers, graphs, strict=True)
    )
    return Overhead(low, middle, high)


def _graphs_gib(version: tuple[int, int], tensor_parallel: int, enforce_eager: bool) -> tuple[float, float, float]:
    """CUDA graphs count against the KV cache from 0.21 on; before, they came from outside the budget."""
    if enforce_eager or version < _GRAPHS_IN_BUDGET_SINCE:
        return (0.0, 0.0, 0.0)
    return (0.3, 0.8, 1.9) if tensor_parallel == 1 else (0.5, 1.5, 2.5)


def cpu_overhead(shape: ModelShape) -> Overhead:
    """The engine's processes with their libraries, and one layer's activations in float32."""
    layer = 2048 * 3 * (shape.ffn_size + shape.hidden_size) * 4
    low, middle, high = (round(base + layer) for base in _CPU_PROCESSES)
    return Overhead(low, middle, high)
