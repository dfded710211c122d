"""Memory, time and cost of a fine-tune: LoRA, QLoRA, full, DPO and ORPO. Bytes and tokens on each device.

The usual accounting: the base (frozen, or with gradients and optimizer states; ZeRO, arXiv 1910.02054), 16 bytes for
each adapter parameter, one hidden vector a layer and token with checkpointing, the working set of one layer, the
logits, or the copy of the weights that the step makes where that is more. What each tool keeps of these stands in
training_methods.py, its speed in training_speed.py.
"""

from __future__ import annotations

from dataclasses import dataclass

from apps.planning.durations import Basis, Duration, work_duration
from apps.planning.gpu_types import gpu_type_of
from apps.planning.memory import TIGHT_SPARE
from apps.planning.precisions import precision_name
from apps.planning.serving_plan import Memory, Verdict
from apps.planning.shapes import EXPERTS, Confidence, ModelShape
from apps.planning.training_methods import (
    OPTIMIZERS,
    PREFERENCE_LOGIT_BYTES,
    STEP_COPY_BYTES,
    MethodName,
    Preference,
    Sharding,
    Shares,
    read_engine,
    shares,
)
from apps.planning.training_speed import Speed, cpu_speed, gpu_speed
from apps.planning.weights import weights_bytes

FORMULA_VERSION = "training-4"
GIB = 2**30
_ADAPTER_WEIGHT, _ADAPTER_MOMENTS = 4, 8  # float32 weight, the same of gradient, and two moments
_GRADIENT_BYTES = 2
_CPU_PROCESS = 1.05e9  # what libraries keep beside tensors without a GPU
_SPREAD = 0.249  # of what tools report: tensors alone at one end, all that the allocator reserved at the other
# DeepSpeed stages 1 and 2 (docs: ZeRO, allgather_bucket_size, overlap_comm) hold up to 4.5 x 2 buckets of 5e8 16-bit
# values; two of them stand even for the few gradients of adapters.
_BUCKET_VALUES, _BUCKETS, _SMALL_BUCKETS = 5e8, 9, 2
_UNGATED = 0.4  # a feed-forward part without a gate keeps two of the five
_STARTUP_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """What would be trained. `tokens` are those of one pass over the data set, padding included."""

    shape: ModelShape
    method: MethodName = "lora"
    preference: Preference = "none"
    precision: str = "bf16"  # of the base model as loaded; QLoRA loads `quantised_bits`
    quantised_bits: int = 4
    is_gptq: bool = False  # the quantised base, else bitsandbytes
    engine: str = "axolotl"
    optimizer: str = "adamw"
    lora_rank: int = 16
    micro_batch: int = 1
    sequence_tokens: int = 2048
    tokens: int = 0
    epochs: float = 1.0
    gradient_checkpointing: bool = True
    offloads_checkpoints: bool = False  # checkpoints lie in RAM
    chunked_loss: bool = False  # the loss is taken in pieces, so the logits never stand whole in memory
    cpu_offload: bool = False  # weights and states lie in RAM and visit the GPU layer by layer
    devices: int = 1
    sharding: Sharding | None = None  # the tool's usual way when None
    cpu_count: int = 1
    measured_tokens_per_second: float | None = None  # on this kind of device, all devices together
    price_per_device_hour: float | None = None

    @property
    def row_tokens(self) -> int:
        """Tokens of one step on a device; a preference row holds two answers."""
        return self.micro_batch * self.sequence_tokens * (1 if self.preference == "none" else 2)

    @property
    def sharding_taken(self) -> Sharding:
        """Full training is split whole (FSDP, ZeRO-3) unless told; most tools copy the base of adapters."""
        splits = self.method == "full" or read_engine(self.engine).shards_adapters
        return self.sharding or ("zero3" if splits else "ddp")

    @property
    def shares(self) -> Shares:
        return shares(self.sharding_taken, self.devices)

    @property
    def keeps_reference(self) -> bool:
        """DPO compares with the untrained model: a frozen copy, or the base with its adapters switched off. ORPO needs
        none (arXiv 2305.18290, 2403.07691)."""
        return self.preference == "dpo" and self.method == "full"


@dataclass(frozen=True, slots=True)
class TrainingEstimate:
    """The answer; `cost` is None without a price, `duration` and `speed` None for a GPU whose speed is not known."""

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
    speed: Speed | None
    duration: Duration | None
    cost: float | None
    cost_low: float | None
    cost_high: float | None
    confidence: Confidence
    formula_version: str
    notes: tuple[str, ...]

    @property
    def parts(self) -> dict[str, float]:
        """What fills the device, in bytes, under the names of a memory strip."""
        learning = {"activations": self.activation_bytes, "optimizer": self.optimizer_bytes}
        return {"weights": self.weights_bytes, **learning, "overhead": self.overhead_bytes}


def lora_parameters(shape: ModelShape, rank: int) -> int:
    """Adapter parameters with every linear layer adapted: rank x (inputs + outputs). Experts are left as they are."""
    adapted = [each for each in shape.linear_matrices() if each.name not in EXPERTS]
    return rank * sum((each.rows + each.columns) * each.count for each in adapted)


def training_fit(plan: TrainingPlan, memory: Memory) -> TrainingEstimate:
    """Estimate memory on each device, the time and the cost. Raises CannotEstimate."""
    reference = _weights_on_each(plan) if plan.keeps_reference else 0
    weights, (trainable, states) = _weights_on_each(plan) + reference, _states(plan)
    working, process = max(_activation_bytes(plan), _step_bytes(plan)), _process_bytes(plan, memory.kind)
    middle = weights + states + working + process
    low, high = round(middle * (1 - _SPREAD)), round(middle * (1 + _SPREAD))
    spare = (memory.total_bytes - middle) / memory.total_bytes
    verdict: Verdict = "too_big" if spare < 0 else "tight" if spare < TIGHT_SPARE else "fits"
    speed = _speed(plan, memory)
    duration = _duration(plan, speed)
    hourly = None if plan.price_per_device_hour is None else plan.price_per_device_hour * plan.devices
    cost, cost_low, cost_high = _costs(duration, hourly)
    agree = (low <= memory.total_bytes) == (high <= memory.total_bytes)
    return TrainingEstimate(
        verdict=verdict,
        fits=verdict != "too_big",
        reason=_reason(verdict, middle, memory),
        weights_bytes=weights,
        optimizer_bytes=states,
        activation_bytes=working,
        overhead_bytes=process,
        total_bytes=middle,
        total_bytes_low=low,
        total_bytes_high=high,
        spare_fraction=spare,
        trainable_parameters=trainable,
        speed=speed,
        duration=duration,
        cost=cost,
        cost_low=cost_low,
        cost_high=cost_high,
        confidence="medium" if agree and plan.shape.confidence != "low" else "low",
        formula_version=FORMULA_VERSION,
        notes=(*plan.shape.notes, *_notes(plan, reference)),
    )


def _notes(plan: TrainingPlan, reference: int) -> list[str]:
    if not reference:
        return []
    return [f"DPO keeps the untrained model beside the trained one, {reference / GIB:.1f} GiB; adapters need no copy."]


def _base_bytes(plan: TrainingPlan) -> int:
    if plan.method == "qlora":
        return weights_bytes(shape=plan.shape, precision="int8" if plan.quantised_bits == 8 else "nf4")
    return weights_bytes(shape=plan.shape, precision=precision_name(plan.precision))


def _weights_on_each(plan: TrainingPlan) -> int:
    """The base; or this device's part of it, beside the layer at work, the one fetched next, and the embeddings."""
    whole = _base_bytes(plan)
    gathered = 2 * whole // plan.shape.layers + 2 * plan.shape.embedding_parameters
    if plan.cpu_offload:
        return gathered
    return whole // plan.shares.weights + gathered if plan.shares.weights > 1 else whole


def _states(plan: TrainingPlan) -> tuple[int, int]:
    """Trainable parameters, and the bytes on each device that learning adds to the weights."""
    split = plan.shares
    if plan.method != "full":
        count = lora_parameters(plan.shape, plan.lora_rank)
        each = _ADAPTER_WEIGHT / split.weights + _ADAPTER_WEIGHT / split.gradients + _ADAPTER_MOMENTS / split.optimizer
        return count, round(each * count)
    count = plan.shape.parameters
    if plan.cpu_offload:
        return count, _GRADIENT_BYTES * count // plan.shape.layers
    each = OPTIMIZERS[plan.optimizer] / split.optimizer + _gradient_bytes(plan) / split.gradients
    return count, round(each * count)


def _gradient_bytes(plan: TrainingPlan) -> float:
    """torchtune's recipe for one device steps inside the backward pass, so only one layer's gradients stand."""
    if "torchtune" in plan.engine.lower() and plan.devices == 1:
        return 3 * _GRADIENT_BYTES / plan.shape.layers
    return 4 if plan.optimizer == "adamw-fp32" else _GRADIENT_BYTES


def _activation_bytes(plan: TrainingPlan) -> int:
    """What layers keep, the working set of one of them, and the logits."""
    profile, shape, tokens = read_engine(plan.engine), plan.shape, plan.row_tokens
    size = 4 if plan.precision == "fp32" else 2
    # peft leaves what a GPTQ base hands on in 16 bits (prepare_model_for_kbit_training). It leaves the embeddings so
    # too, but `_process_bytes` keeps their upcast: measured runs of short rows ask for it.
    handed_on = 2 * size if profile.upcasts and plan.method == "qlora" and not plan.is_gptq else size
    ffn_kept = profile.ffn_kept * (1.0 if _is_gated(shape) else _UNGATED)
    layer = tokens * (profile.hidden_kept * shape.hidden_size + ffn_kept * shape.ffn_size) * size
    kept = shape.layers * layer
    if plan.gradient_checkpointing:
        offloads = profile.offloads_checkpoints or plan.offloads_checkpoints
        kept = 0 if offloads else tokens * shape.layers * shape.hidden_size * handed_on
    per_entry = profile.logit_bytes if plan.preference == "none" else PREFERENCE_LOGIT_BYTES
    logits = tokens * shape.vocab_size * per_entry / (8 if plan.chunked_loss else 1)
    # The loss is over before the first layer is computed again, but the allocator seldom fits one into the other's gap.
    return round(kept + layer + logits)


def _is_gated(shape: ModelShape) -> bool:
    return any("gate" in each.name for each in shape.linear_matrices())


def _step_bytes(plan: TrainingPlan) -> int:
    """What the optimizer's step adds, when activations are gone again."""
    if plan.method != "full" or plan.cpu_offload or read_engine(plan.engine).shards_adapters:
        return 0
    return round(STEP_COPY_BYTES.get(plan.optimizer, 0) * plan.shape.parameters / plan.shares.optimizer)


def _process_bytes(plan: TrainingPlan, kind: str) -> int:
    if kind == "cpu":
        return round(_CPU_PROCESS)
    profile = read_engine(plan.engine)
    upcast = 2 * plan.shape.embedding_parameters if profile.upcasts and plan.method == "qlora" else 0
    return round(profile.process_bytes + upcast + _bucket_bytes(plan))


def _bucket_bytes(plan: TrainingPlan) -> float:
    if plan.sharding not in ("zero1", "zero2"):
        return 0
    count = _BUCKETS if plan.method == "full" else _SMALL_BUCKETS
    return count * _GRADIENT_BYTES * min(_BUCKET_VALUES, plan.shape.parameters)


def _speed(plan: TrainingPlan, memory: Memory) -> Speed | None:
    if plan.measured_tokens_per_second:
        each = plan.measured_tokens_per_second / plan.devices
        return Speed(each / 1.3, each, each * 1.3)
    if memory.kind == "cpu":
        return cpu_speed(
            plan.shape,
            method=plan.method,
            sequence_tokens=plan.sequence_tokens,
            cores=plan.cpu_count,
            recomputes=plan.gradient_checkpointing,
        )
    return gpu_speed(
        gpu_type_of(memory.name),
        plan.shape,
        method=plan.method,
        sequence_tokens=plan.sequence_tokens,
        devices=plan.devices,
        step_tokens=plan.row_tokens,
        recomputes=plan.gradient_checkpointing,
        offloads=plan.cpu_offload,
    )


def _duration(plan: TrainingPlan, speed: Speed | None) -> Duration | None:
    if speed is None:
        return None
    rates = (speed.low * plan.devices, speed.middle * plan.devices, speed.high * plan.devices)
    basis: Basis = "measured" if plan.measured_tokens_per_second else "formula"
    return work_duration(
        tokens=plan.tokens * plan.epochs, tokens_per_second=rates, basis=basis, startup_seconds=_STARTUP_SECONDS
    )


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
