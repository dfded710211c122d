"""How fast a fine-tune goes: the GPU's peak x the share that training reaches / the work of a token.

Work: 6 FLOPs a parameter and token when all weights learn, 4 when only adapters do (PaLM, arXiv 2204.02311, appendix
B), and 12 x layers x width x length for attention. Checkpointing adds a forward pass: 2 a parameter and a third of
attention, so adapters lose a third of their speed to it (modelscope/ms-swift, Benchmark.md: 6.19 and 4.31 samples/s).
"""

from __future__ import annotations

from dataclasses import dataclass

from apps.planning.gpu_types import GpuType
from apps.planning.shapes import ModelShape

Range = tuple[float, float, float]
_CPU_CORE_FLOPS: Range = (1e9, 1e10, 4e10)  # float32 a core, as reached in training; wide, because builds differ
# Share of the peak, recomputation counted, when all weights learn: the larger the peak, the less of it is reached. As
# fitted on the measured runs, of A100, H100 and B200 among others (bench/planner_data); types that nobody measured
# take the share of their peak.
_SHARES = ((300e12, 0.80), (400e12, 0.65), (1e15, 0.45), (float("inf"), 0.38))  # FLOPS in bf16, up to
_ADAPTER_SHARE = {"lora": 0.85, "qlora": 0.8, "full": 1.0}
_OFFLOADED = 0.8  # weights and states travel from RAM, mostly while the GPU works
_MIXTURE = 0.8  # experts meet few tokens each
# Adapters in eager mode: seconds that launching a layer's kernels takes, with recomputation, whatever the tokens.
_LAUNCH_SECONDS = 0.0045
_UNPACK_SECONDS = 12e-12  # a weight of a 4-bit base, turned into 16 bits in every pass of a step
_SPREAD = (0.5, 1.0, 1.35)
# Small models leave the GPU waiting for the next kernel.
_SMALL = ((2e8, 0.75), (6e8, 0.88))


@dataclass(frozen=True, slots=True)
class Speed:
    """Tokens a second on each device: low, middle, high."""

    low: float
    middle: float
    high: float


def flops_per_token(shape: ModelShape, *, trains_all: bool, sequence_tokens: int, recomputes: bool = False) -> float:
    """Work of one training token, attention and, where asked, the second forward pass of checkpointing included."""
    width = shape.attention_heads * shape.head_dim
    passes = (6 if trains_all else 4) + (2 if recomputes else 0)
    return passes * shape.active_parameters + (16 if recomputes else 12) * shape.layers * width * sequence_tokens


def gpu_speed(
    kind: GpuType | None,
    shape: ModelShape,
    *,
    method: str,
    sequence_tokens: int,
    devices: int,
    step_tokens: int,
    recomputes: bool,
    offloads: bool = False,
) -> Speed | None:
    """None for a GPU whose throughput is not known. `step_tokens` are those of one pass on a device."""
    if kind is None or kind.bf16_flops is None:
        return None
    share = next(value for most, value in _SHARES if kind.bf16_flops <= most)
    share *= _ADAPTER_SHARE[method] * next((part for size, part in _SMALL if shape.parameters < size), 1.0)
    share *= (1.0 if devices <= 8 else 0.95) * (_OFFLOADED if offloads else 1.0) * (_MIXTURE if shape.is_moe else 1.0)
    work = flops_per_token(shape, trains_all=method == "full", sequence_tokens=sequence_tokens, recomputes=recomputes)
    middle = kind.bf16_flops * share / work
    if method != "full":
        launches = shape.layers * _LAUNCH_SECONDS * (1.0 if recomputes else 2 / 3)
        unpacking = _UNPACK_SECONDS * shape.active_parameters if method == "qlora" else 0.0
        middle = step_tokens / (max(step_tokens / middle, launches) + unpacking)
    low, middle, high = (middle * part for part in _SPREAD)
    return Speed(low, middle, high)


def cpu_speed(shape: ModelShape, *, method: str, sequence_tokens: int, cores: int, recomputes: bool) -> Speed:
    work = flops_per_token(shape, trains_all=method == "full", sequence_tokens=sequence_tokens)
    work *= 4 / 3 if recomputes else 1
    low, middle, high = (cores * each / work for each in _CPU_CORE_FLOPS)
    return Speed(low, middle, high)
