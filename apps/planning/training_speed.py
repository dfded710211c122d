"""How fast a fine-tune goes: the GPU's peak x the share that training reaches / the work of a token.

Work: 6 FLOPs a parameter and token when all weights learn, 4 when only adapters do (PaLM, arXiv 2204.02311, appendix
B), and 12 x layers x width x length for attention. The share counts that work only, not recomputation: runs with and
without checkpointing reach the same one at their best batch (mosaicml/llm-foundry, scripts/train/benchmarking).
"""

from __future__ import annotations

from dataclasses import dataclass

from apps.planning.gpu_types import GpuType
from apps.planning.shapes import ModelShape

Range = tuple[float, float, float]
_CPU_CORE_FLOPS: Range = (1e9, 1e10, 4e10)  # float32 a core, as reached in training; wide, because builds differ
# Share of the peak by generation, when all weights learn; then what adapters leave of it.
_SHARES = {"a100": 0.57, "a800": 0.57, "h100": 0.43, "h200": 0.43, "h800": 0.43, "gh200": 0.43, "b200": 0.36}
_OTHER_SHARE = 0.70
_ADAPTER_SHARE = {"lora": 0.8, "qlora": 0.75, "full": 1.0}
_OFFLOADED = 0.5  # weights and states travel from RAM
_SPREAD = (0.5, 1.0, 1.35)
# Small models leave the GPU waiting for the next kernel.
_SMALL = ((2e8, 0.75), (6e8, 0.88))


@dataclass(frozen=True, slots=True)
class Speed:
    """Tokens a second on each device: low, middle, high."""

    low: float
    middle: float
    high: float


def flops_per_token(shape: ModelShape, *, trains_all: bool, sequence_tokens: int) -> float:
    """Work of one training token, attention included, recomputation not."""
    width = shape.attention_heads * shape.head_dim
    return (6 if trains_all else 4) * shape.active_parameters + 12 * shape.layers * width * sequence_tokens


def gpu_speed(
    kind: GpuType | None, shape: ModelShape, *, method: str, sequence_tokens: int, devices: int, offloads: bool = False
) -> Speed | None:
    """None for a GPU whose throughput is not known."""
    if kind is None or kind.bf16_flops is None:
        return None
    share = next((value for name, value in _SHARES.items() if kind.key.startswith(name)), _OTHER_SHARE)
    share *= _ADAPTER_SHARE[method] * next((part for size, part in _SMALL if shape.parameters < size), 1.0)
    share *= (1.0 if devices <= 8 else 0.95) * (_OFFLOADED if offloads else 1.0)
    work = flops_per_token(shape, trains_all=method == "full", sequence_tokens=sequence_tokens)
    low, middle, high = (kind.bf16_flops * share * part / work for part in _SPREAD)
    return Speed(low, middle, high)


def cpu_speed(shape: ModelShape, *, method: str, sequence_tokens: int, cores: int, recomputes: bool) -> Speed:
    work = flops_per_token(shape, trains_all=method == "full", sequence_tokens=sequence_tokens)
    work *= 4 / 3 if recomputes else 1
    low, middle, high = (cores * each / work for each in _CPU_CORE_FLOPS)
    return Speed(low, middle, high)
