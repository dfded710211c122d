"""Will a model fit when vLLM serves it, and for how many users?

GPU: vLLM gives the KV cache what is left of `memory x utilisation` after weights, the activation peak of
its profiling run, communication buffers and, from 0.21 on, CUDA graphs (vllm-project/vllm #2031, #10517).
CPU: the KV cache has a size of its own (VLLM_CPU_KVCACHE_SPACE), and all must fit into the RAM at hand.

All sizes in bytes, on each GPU unless said otherwise. A plain field is the middle estimate; `_low` and
`_high` stand beside it.
"""

from __future__ import annotations

from dataclasses import dataclass

from apps.planning.kv_cache import BLOCK_TOKENS, KvLayout, kv_layout
from apps.planning.overhead import (
    Batch,
    Overhead,
    cpu_overhead,
    default_utilisation,
    gpu_overhead,
    planned_batch,
)
from apps.planning.parallel import check_parallel
from apps.planning.precisions import precision_name
from apps.planning.serving_plan import FitEstimate, Memory, ServingPlan, Shortage, Verdict
from apps.planning.shapes import CannotEstimate, Confidence, ModelShape
from apps.planning.weights import weights_bytes, weights_on_gpu

FORMULA_VERSION = "vllm-5"
GIB = 2**30
TIGHT_USERS, TIGHT_SPARE = 2, 0.12
# Until 0.20 graphs were captured in what the utilisation leaves free; with less than this, capture ran out of memory.
_FREE_FOR_GRAPHS, _GRAPHS_IN_BUDGET_SINCE = round(0.6 * GIB), (0, 21)
_KV_BYTES = {"fp32": 4.0, "bf16": 2.0, "fp16": 2.0, "fp8": 1.0, "int8": 1.0, "nvfp4": 0.5625}


def serving_fit(plan: ServingPlan, memory: Memory) -> FitEstimate:
    """Estimate one replica on `memory` (each of tensor x pipeline parallel such GPUs). Raises CannotEstimate."""
    _check_parallel(plan, memory)
    weights, overhead, layout = weights_on_each(plan), _overhead(plan, memory), _layout(plan, memory)
    budget = _budget(plan, memory)
    rooms = [budget - weights - part for part in (overhead.high, overhead.middle, overhead.low)]
    worst, middle, best = judged = [_judge(plan, memory, room, budget, layout) for room in rooms]
    verdict = "tight" if middle.verdict == "fits" and worst.verdict == "too_big" else middle.verdict
    shortage = _shortage(plan, memory, verdict, budget - weights, overhead)
    verdict = "too_big" if shortage == "activation" else verdict
    required = weights + overhead.middle + max(_asked_cache(plan, memory), layout.request_bytes(plan.context))
    return FitEstimate(
        verdict=verdict,
        fits=verdict != "too_big",
        reason=_reason(plan, memory, verdict, middle, required - budget),
        shortage=shortage,
        weights_bytes=weights,
        kv_cache_bytes=middle.cache,
        kv_cache_bytes_low=worst.cache,
        kv_cache_bytes_high=best.cache,
        kv_room_bytes=rooms[1],
        overhead_bytes=overhead.middle,
        overhead_bytes_low=overhead.low,
        overhead_bytes_high=overhead.high,
        activation_bytes=overhead.activation,
        buffer_bytes=overhead.buffers,
        kv_bytes_per_token=layout.token_bytes,
        kv_tokens=middle.tokens,
        kv_tokens_low=worst.tokens,
        kv_tokens_high=best.tokens,
        max_context=layout.longest(middle.cache, plan.longest_context),
        max_concurrency=layout.concurrency(middle.cache, plan.context),
        tokens_per_user=plan.user_tokens,
        concurrent_users=middle.users,
        concurrent_users_low=worst.users,
        concurrent_users_high=best.users,
        spare_fraction=middle.spare,
        required_bytes=required,
        confidence=_confidence(plan, memory, [case.verdict for case in judged]),
        formula_version=FORMULA_VERSION,
        notes=(*plan.shape.notes, *_context_notes(plan)),
    )


def _asked_cache(plan: ServingPlan, memory: Memory) -> int:
    return plan.kv_space_bytes or 0 if memory.kind == "cpu" else 0


@dataclass(frozen=True, slots=True)
class _Case:
    """One of the three estimates: the KV cache it leaves, and what that means."""

    verdict: Verdict
    cache: int
    tokens: int
    users: float
    spare: float


def _judge(plan: ServingPlan, memory: Memory, room: int, budget: int, layout: KvLayout) -> _Case:
    one = layout.request_bytes(plan.context)
    cache, spare_bytes = max(0, room), room - one
    if memory.kind == "cpu":
        # The CPU build takes what it was told to; by default as much as two users, or one long context, need.
        wanted = plan.kv_space_bytes or max(one, TIGHT_USERS * layout.request_bytes(plan.user_tokens))
        cache = min(wanted, cache) if plan.kv_space_bytes is None or room >= wanted else 0
        spare_bytes = room - (plan.kv_space_bytes or one)
    tokens, users = layout.tokens(cache, plan.context), layout.concurrency(cache, plan.user_tokens)
    spare = spare_bytes / budget if budget else -1.0
    if layout.blocks(cache) < layout.blocks_of_request(plan.context):
        return _Case("too_big", cache, tokens, users, spare)
    roomy = users >= TIGHT_USERS and spare >= TIGHT_SPARE
    return _Case("fits" if roomy else "tight", cache, tokens, users, spare)


def _check_parallel(plan: ServingPlan, memory: Memory) -> None:
    split = (plan.tensor_parallel, plan.pipeline_parallel)
    check_parallel(plan.shape, *split, plan.block, expert_parallel=plan.expert_parallel)
    if memory.kind == "cpu" and plan.tensor_parallel * plan.pipeline_parallel != 1:
        raise CannotEstimate(f"Tensor parallel is {plan.tensor_parallel}; on the CPU device it must be 1.")


def _budget(plan: ServingPlan, memory: Memory) -> int:
    if memory.kind == "cpu":
        return memory.total_bytes
    share = plan.gpu_memory_utilisation or default_utilisation(plan.version)
    return round(memory.total_bytes * share)


def _layout(plan: ServingPlan, memory: Memory) -> KvLayout:
    return kv_layout(
        plan.shape,
        value_bytes=kv_value_bytes(plan.cache_dtype, plan.precision),
        sparse_latent=plan.kv_cache_dtype == "fp8_ds_mla",
        tensor_parallel=plan.tensor_parallel,
        pipeline_parallel=plan.pipeline_parallel,
        batch_tokens=_batch(plan, memory).tokens,
        version=plan.version,
    )


def kv_value_bytes(kv_cache_dtype: str, precision: str = "bf16") -> float:
    """Bytes of one cached value. `auto` follows what the engine computes in, not how weights are stored."""
    asked = kv_cache_dtype.strip().lower()
    if asked in ("auto", ""):
        return 4.0 if precision in ("fp32", "float32") else 2.0
    if asked.startswith("fp8"):
        return 1.0
    size = _KV_BYTES.get(asked) or _KV_BYTES.get(_plain_name(asked), 0.0)
    if not size:
        raise CannotEstimate(f"kv_cache_dtype {kv_cache_dtype[:40]!r} is not known; use auto, bf16, fp16 or fp8.")
    return size


def _plain_name(text: str) -> str:
    try:
        return precision_name(text)
    except CannotEstimate:
        return ""


def kv_bytes_per_token(
    shape: ModelShape, *, precision: str = "bf16", kv_cache_dtype: str = "auto", tensor_parallel: int = 1
) -> int:
    """Bytes of keys and values one token costs on EACH GPU, in all layers that keep it."""
    size = kv_value_bytes(kv_cache_dtype, precision)
    return kv_layout(shape, value_bytes=size, tensor_parallel=tensor_parallel).token_bytes


def weights_on_each(plan: ServingPlan) -> int:
    """Bytes of weights and of room for adapters on the fullest GPU, from the files where they are known."""
    precision = precision_name(plan.precision)
    total = weights_bytes(
        shape=plan.shape,
        precision=precision,
        file_bytes=plan.file_bytes,
        stored_precision=plan.stored_precision,
        quantization=plan.quantization,
    )
    if plan.tensor_parallel == plan.pipeline_parallel == 1 and plan.file_bytes is not None:
        return total + _adapter_bytes(plan)
    held = weights_on_gpu(
        plan.shape,
        precision=precision,
        total_bytes=total if plan.file_bytes is not None else None,
        quantization=plan.quantization,
        tensor_parallel=plan.tensor_parallel,
        pipeline_parallel=plan.pipeline_parallel,
        version=plan.version,
    )
    return held + _adapter_bytes(plan)


def _adapter_bytes(plan: ServingPlan) -> int:
    """Room that vLLM sets aside for LoRA adapters: 16-bit, all linear matrices, split like the weights."""
    if not plan.lora_slots:
        return 0
    sides = sum((each.rows + each.columns) * each.count for each in plan.shape.linear_matrices())
    return plan.lora_slots * plan.lora_rank * sides * 2 // plan.tensor_parallel // plan.pipeline_parallel


def _batch(plan: ServingPlan, memory: Memory) -> Batch:
    return planned_batch(
        total_bytes=memory.total_bytes,
        gpu_name=memory.name,
        context=plan.context,
        version=plan.version,
        max_num_seqs=plan.max_num_seqs,
        max_num_batched_tokens=plan.max_num_batched_tokens,
    )


def _overhead(plan: ServingPlan, memory: Memory) -> Overhead:
    if memory.kind == "cpu":
        return cpu_overhead(plan.shape)
    return gpu_overhead(
        plan.shape,
        batch=_batch(plan, memory),
        version=plan.version,
        tensor_parallel=plan.tensor_parallel,
        pipeline_parallel=plan.pipeline_parallel,
        enforce_eager=plan.enforce_eager,
    )


def _shortage(plan: ServingPlan, memory: Memory, verdict: Verdict, left: int, overhead: Overhead) -> Shortage | None:
    """What did not fit: weights alone, the peak beside them, or the KV cache of one context."""
    if left <= 0:
        return "weights"
    if _captures_outside(plan, memory) and memory.total_bytes - _budget(plan, memory) < _FREE_FOR_GRAPHS:
        return "activation"
    if verdict != "too_big":
        return None
    return "activation" if left <= overhead.middle else "kv_cache"


def _captures_outside(plan: ServingPlan, memory: Memory) -> bool:
    """True where CUDA graphs come from what the utilisation leaves free."""
    return memory.kind == "gpu" and not plan.enforce_eager and plan.version < _GRAPHS_IN_BUDGET_SINCE


def _confidence(plan: ServingPlan, memory: Memory, verdicts: list[Verdict]) -> Confidence:
    """High when low, middle and high estimate agree; low when they disagree on whether it fits at all."""
    disagree = len({verdict == "too_big" for verdict in verdicts}) > 1
    if disagree or plan.exceeds_model or plan.shape.confidence == "low":
        return "low"
    # The CPU overhead rests on one measured model, so it never earns "high".
    measured = memory.kind == "gpu" and not memory.is_guessed
    return "high" if len(set(verdicts)) == 1 and measured and plan.shape.confidence == "high" else "medium"


def _context_notes(plan: ServingPlan) -> list[str]:
    if not plan.exceeds_model:
        return []
    own = f"{plan.context:,} tokens are more than the {plan.shape.max_context:,} that the model is made for"
    return [f"{own}: vLLM refuses that without VLLM_ALLOW_LONG_MAX_MODEL_LEN=1, and answers may be nonsense."]


def _reason(plan: ServingPlan, memory: Memory, verdict: Verdict, case: _Case, short: int) -> str:
    where = (
        "each GPU"
        if plan.tensor_parallel * plan.pipeline_parallel > 1
        else "the GPU"
        if memory.kind == "gpu"
        else "RAM"
    )
    users = case.tokens // plan.user_tokens
    room = f"Room for {users:,} {'user' if users == 1 else 'users'} with {plan.user_tokens:,} tokens each"
    if verdict == "fits":
        return f"{room}."
    if verdict == "tight":
        return f"{room}, with {max(0.0, case.spare):.0%} of {where} to spare."
    if case.tokens >= BLOCK_TOKENS and case.verdict == "too_big":
        most = min(case.tokens, plan.longest_context)
        return f"{plan.context:,} tokens of context do not fit; set max_model_len to {most:,} or less."
    if short <= 0:
        return f"CUDA graphs need more than is left free on {where}; lower gpu_memory_utilization or use enforce_eager."
    return f"Short by {short / GIB:.1f} GiB on {where}: weights, overhead and one context do not fit."
