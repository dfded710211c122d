"""Memory, time and cost of a fine-tune: LoRA, QLoRA, and full. Bytes on one device, seconds, money per hour.

The usual accounting. LoRA: the frozen base, plus 16 bytes for each adapter parameter (float32 weight,
gradient, two Adam moments). Full: 16 bytes a parameter with mixed precision (ZeRO, arXiv 1910.02054), down
to 8 with everything in bf16. Activations with checkpointing: one hidden state a layer, one layer's working
set, and the logits. Work: 6 FLOPs a parameter and token when all weights learn, 4 when only adapters do, a
third more for the recomputation (PaLM, arXiv 2204.02311, appendix B), and attention on top.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from apps.planning.durations import Duration, work_duration
from apps.planning.gpu_types import gpu_type_of
from apps.planning.memory import TIGHT_SPARE, Memory, Verdict
from apps.planning.shapes import CannotEstimate, ModelShape
from apps.planning.weights import precision_name, weights_bytes

FORMULA_VERSION = "training-1"
GIB = 2**30
_UTILISATION = (0.15, 0.35, 0.60)  # share of the peak that fine-tunes reach: low, middle, high
_CPU_CORE_FLOPS = (1e9, 1e10, 4e10)  # float32 a core, as reached in training; wide, because builds differ
_LOGIT_BYTES = (2, 6, 10)  # bf16 alone; with a float32 copy; with that copy's gradient
_LOSS_CHUNKS = 8
# An adapter parameter: weight, gradient and two Adam moments, all in bf16 (low) or in float32.
_ADAPTER_BYTES = (8, 16, 16)
_FULL_BYTES = (8, 16, 18)  # a parameter, weights included
_PROCESS = {"gpu": (0.5e9, 1.0e9, 2.0e9), "cpu": (1.0e9, 1.2e9, 2.0e9)}  # CUDA context; torch and libraries


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """What would be trained. `tokens` are those of one pass over the data set, padding included."""

    shape: ModelShape
    method: Literal["lora", "qlora", "full"] = "lora"
    precision: str = "bf16"  # of the base model as loaded; QLoRA loads nf4
    lora_rank: int = 16
    micro_batch: int = 1
    sequence_tokens: int = 2048
    tokens: int = 0
    epochs: float = 1.0
    gradient_checkpointing: bool = True
    chunked_loss: bool = False  # the loss is taken in pieces, so the logits never stand whole in memory
    devices: int = 1  # data parallel: each holds everything
    cpu_count: int = 1
    tokens_per_second: float | None = None  # measured on this kind of device, all devices together
    price_per_device_hour: float | None = None


@dataclass(frozen=True, slots=True)
class TrainingEstimate:
    """The answer; `cost` is None without a price, `duration` None for a GPU whose speed is not known."""

    verdict: Verdict
    fits: bool
    reason: str
    weights_bytes: int
    optimizer_bytes: int  # adapters or gradients, and optimizer states
    activation_bytes: int
    overhead_bytes: int
    total_bytes: int
    total_bytes_low: int
    total_bytes_high: int
    spare_fraction: float
    trainable_parameters: int
    duration: Duration | None
    cost: float | None
    cost_low: float | None
    cost_high: float | None
    confidence: Literal["low", "medium", "high"]
    formula_version: str
    notes: tuple[str, ...]

    @property
    def parts(self) -> dict[str, float]:
        """What fills the device, in bytes, under the names of a memory strip."""
        learning = {"activations": self.activation_bytes, "optimizer": self.optimizer_bytes}
        return {"weights": self.weights_bytes, **learning, "overhead": self.overhead_bytes}


def lora_parameters(shape: ModelShape, rank: int) -> int:
    """Adapter parameters with every linear layer adapted: rank x (inputs + outputs) of each matrix."""
    query, kv = shape.attention_heads * shape.head_dim, shape.kv_heads * shape.head_dim
    attention = 2 * (shape.hidden_size + query) + 2 * (shape.hidden_size + kv)
    return rank * shape.layers * (attention + 3 * (shape.hidden_size + shape.ffn_size))


def training_fit(plan: TrainingPlan, memory: Memory) -> TrainingEstimate:
    """Estimate memory on one device, the time and the cost. Raises CannotEstimate."""
    if not plan.shape.dense:
        raise CannotEstimate("Training memory of this architecture is not estimated yet.")
    precision = "nf4" if plan.method == "qlora" else precision_name(plan.precision)
    weights = weights_bytes(shape=plan.shape, precision=precision)
    trainable, states = _states(plan, weights)
    activations = _activation_bytes(plan, 4 if precision == "fp32" else 2)
    process = _PROCESS[memory.kind]
    low, middle, high = (round(weights + states[i] + activations[i] + process[i]) for i in range(3))
    spare = (memory.total_bytes - middle) / memory.total_bytes
    verdict: Verdict = "too_big" if spare < 0 else "tight" if spare < TIGHT_SPARE else "fits"
    duration = _duration(plan, memory)
    hourly = None if plan.price_per_device_hour is None else plan.price_per_device_hour * plan.devices
    cost, cost_low, cost_high = _costs(duration, hourly)
    agree = (low <= memory.total_bytes) == (high <= memory.total_bytes)
    return TrainingEstimate(
        verdict=verdict,
        fits=verdict != "too_big",
        reason=_reason(verdict, middle, memory),
        weights_bytes=weights,
        optimizer_bytes=states[1],
        activation_bytes=activations[1],
        overhead_bytes=round(process[1]),
        total_bytes=middle,
        total_bytes_low=low,
        total_bytes_high=high,
        spare_fraction=spare,
        trainable_parameters=trainable,
        duration=duration,
        cost=cost,
        cost_low=cost_low,
        cost_high=cost_high,
        confidence="medium" if agree else "low",
        formula_version=FORMULA_VERSION,
        notes=plan.shape.notes,
    )


def _states(plan: TrainingPlan, weights: int) -> tuple[int, tuple[int, ...]]:
    """Trainable parameters, and the low, middle and high bytes of what learning adds to the weights."""
    if plan.method == "full":
        count = plan.shape.parameters
        return count, tuple(max(0, each * count - weights) for each in _FULL_BYTES)
    count = lora_parameters(plan.shape, plan.lora_rank)
    return count, tuple(each * count for each in _ADAPTER_BYTES)


def _activation_bytes(plan: TrainingPlan, size: int) -> tuple[int, int, int]:
    """Low, middle and high; the middle layer keeps about 8 hidden and 4 feed-forward vectors a token."""
    tokens = plan.micro_batch * plan.sequence_tokens
    layer = tokens * (8 * plan.shape.hidden_size + 4 * plan.shape.ffn_size) * size
    if plan.gradient_checkpointing:
        kept = tokens * plan.shape.layers * plan.shape.hidden_size * size + layer
    else:
        kept = plan.shape.layers * layer
    chunks = _LOSS_CHUNKS if plan.chunked_loss else 1
    logits = [tokens * plan.shape.vocab_size * each // chunks for each in _LOGIT_BYTES]
    return kept // 2 + logits[0], kept + logits[1], kept * 3 // 2 + logits[2]


def flops_per_token(plan: TrainingPlan) -> float:
    """Work of one training token, attention included."""
    shape = plan.shape
    passes = 6 if plan.method == "full" else 4
    work = passes * shape.parameters + 12 * shape.layers * shape.hidden_size * plan.sequence_tokens
    return work * (4 / 3 if plan.gradient_checkpointing else 1)


def _duration(plan: TrainingPlan, memory: Memory) -> Duration | None:
    tokens = plan.tokens * plan.epochs
    if plan.tokens_per_second:
        measured = plan.tokens_per_second
        speeds, startup = (measured / 1.3, measured, measured * 1.3), 60.0
        return work_duration(tokens=tokens, tokens_per_second=speeds, basis="measured", startup_seconds=startup)
    if memory.kind == "cpu":
        rates = [plan.cpu_count * each for each in _CPU_CORE_FLOPS]
    else:
        known = gpu_type_of(memory.name)
        if known is None or known.bf16_flops is None:
            return None
        rates = [plan.devices * known.bf16_flops * share for share in _UTILISATION]
    low, middle, high = (rate / flops_per_token(plan) for rate in rates)
    return work_duration(tokens=tokens, tokens_per_second=(low, middle, high), basis="formula", startup_seconds=60.0)


def _costs(duration: Duration | None, per_hour: float | None) -> tuple[float, float, float] | tuple[None, None, None]:
    if duration is None or per_hour is None:
        return None, None, None
    hour = per_hour / 3600
    return duration.seconds * hour, duration.seconds_low * hour, duration.seconds_high * hour


def _reason(verdict: Verdict, total: int, memory: Memory) -> str:
    where = "the GPU" if memory.kind == "gpu" else "RAM"
    short = f"{total / GIB:.1f} of {memory.total_bytes / GIB:.1f} GiB on {where}"
    if verdict == "too_big":
        over = (total - memory.total_bytes) / GIB
        return f"Short by {over:.1f} GiB on {where}. Use a smaller batch, shorter sequences or QLoRA."
    return f"Needs about {short}." if verdict == "fits" else f"Needs about {short}; little to spare."
