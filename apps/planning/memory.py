"""Will a model fit when vLLM serves it, and for how many users?

GPU: vLLM gives the KV cache what is left of `memory x utilisation` after weights, the activation peak of
its profiling run, communication buffers and, from 0.21 on, CUDA graphs (vllm-project/vllm #2031, #10517).
CPU: the KV cache has a size of its own (VLLM_CPU_KVCACHE_SPACE), and all must fit into the RAM at hand.

All sizes in bytes, on each GPU unless said otherwise. A plain field is the middle estimate; `_low` and
`_high` stand beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from apps.planning.overhead import Overhead, cpu_overhead, gpu_overhead
from apps.planning.shapes import CannotEstimate, ModelShape
from apps.planning.weights import kv_bytes_per_token, weights_bytes

FORMULA_VERSION = "vllm-1"
GIB = 2**30
BLOCK_TOKENS = 16  # vLLM hands out KV cache in blocks of this many tokens
TIGHT_USERS, TIGHT_SPARE = 2, 0.12
DEFAULT_UTILISATION = 0.9
Verdict = Literal["fits", "tight", "too_big"]
Confidence = Literal["low", "medium", "high"]


@dataclass(frozen=True, slots=True)
class Memory:
    """The device: one GPU's memory as torch sees it (a little less than the driver's figure), or the RAM."""

    kind: Literal["gpu", "cpu"]
    total_bytes: int
    name: str = ""  # the GPU's product name: vLLM's defaults depend on it


@dataclass(frozen=True, slots=True)
class ServingPlan:
    """What would be served and how; the fields mirror vLLM's options."""

    shape: ModelShape
    precision: str = "bf16"
    file_bytes: int | None = None  # of all weight files, at `stored_precision`
    stored_precision: str | None = None
    kv_cache_dtype: str = "auto"
    max_model_len: int | None = None  # the model's own when None
    tokens_per_user: int | None = None  # max_model_len when None
    tensor_parallel: int = 1
    gpu_memory_utilisation: float = DEFAULT_UTILISATION
    kv_space_bytes: int | None = None  # CPU only; what fits, up to two users, when None
    max_num_seqs: int | None = None
    enforce_eager: bool = False
    engine_version: str = ""

    @property
    def context(self) -> int:
        length = self.max_model_len or self.shape.max_context
        if length < 1:
            raise CannotEstimate("The model names no context length; give max_model_len.")
        return length

    @property
    def user_tokens(self) -> int:
        """Tokens that each user holds; never more than the context."""
        return min(self.tokens_per_user or self.context, self.context)


@dataclass(frozen=True, slots=True)
class FitEstimate:
    """The answer. `fits` is True for a tight fit too; `concurrent_users` each hold `tokens_per_user`.

    `max_context` is the longest context one request could have here. `spare_fraction` is the share of the
    budget left when one context is in use (below 0: short by that share).
    """

    verdict: Verdict
    fits: bool
    reason: str
    weights_bytes: int
    kv_cache_bytes: int
    kv_cache_bytes_low: int
    kv_cache_bytes_high: int
    overhead_bytes: int
    overhead_bytes_low: int
    overhead_bytes_high: int
    kv_bytes_per_token: int
    kv_tokens: int
    kv_tokens_low: int
    kv_tokens_high: int
    max_context: int
    tokens_per_user: int
    concurrent_users: float
    concurrent_users_low: float
    concurrent_users_high: float
    spare_fraction: float
    required_bytes: int  # weights, overhead and one context (on the CPU device: the RAM to reserve)
    confidence: Confidence
    formula_version: str
    notes: tuple[str, ...]

    @property
    def parts(self) -> dict[str, float]:
        """What fills the device, in bytes, under the names of a memory strip."""
        return {"weights": self.weights_bytes, "kv": self.kv_cache_bytes, "overhead": self.overhead_bytes}


def kv_token_capacity(kv_cache_bytes: int, bytes_per_token: int) -> int:
    """Tokens that fit into a KV cache, in whole blocks."""
    return max(0, kv_cache_bytes) // (bytes_per_token * BLOCK_TOKENS) * BLOCK_TOKENS


def serving_fit(plan: ServingPlan, memory: Memory) -> FitEstimate:
    """Estimate one replica on `memory` (each of `tensor_parallel` such GPUs). Raises CannotEstimate."""
    per_token, weights = _per_token(plan), _weights_on_each(plan)
    overhead = _overhead(plan, memory)
    share = plan.gpu_memory_utilisation if memory.kind == "gpu" else 1.0
    budget = round(memory.total_bytes * share)
    rooms = [budget - weights - part for part in (overhead.high, overhead.middle, overhead.low)]
    judged = [_judge(plan, memory, room, budget, per_token) for room in rooms]
    worst, middle, best = judged
    verdict = "tight" if middle.verdict == "fits" and worst.verdict == "too_big" else middle.verdict
    asked = plan.kv_space_bytes if memory.kind == "cpu" else None
    required = weights + overhead.middle + max(asked or 0, plan.context * per_token)
    return FitEstimate(
        verdict=verdict,
        fits=verdict != "too_big",
        reason=_reason(plan, memory, verdict, middle, required - budget),
        weights_bytes=weights,
        kv_cache_bytes=middle.cache,
        kv_cache_bytes_low=worst.cache,
        kv_cache_bytes_high=best.cache,
        overhead_bytes=overhead.middle,
        overhead_bytes_low=overhead.low,
        overhead_bytes_high=overhead.high,
        kv_bytes_per_token=per_token,
        kv_tokens=middle.tokens,
        kv_tokens_low=worst.tokens,
        kv_tokens_high=best.tokens,
        max_context=min(middle.tokens, max(plan.shape.max_context, plan.context)),
        tokens_per_user=plan.user_tokens,
        concurrent_users=middle.tokens / plan.user_tokens,
        concurrent_users_low=worst.tokens / plan.user_tokens,
        concurrent_users_high=best.tokens / plan.user_tokens,
        spare_fraction=middle.spare,
        required_bytes=required,
        confidence=_confidence(memory, [case.verdict for case in judged]),
        formula_version=FORMULA_VERSION,
        notes=plan.shape.notes,
    )


@dataclass(frozen=True, slots=True)
class _Case:
    """One of the three estimates: the KV cache it leaves, and what that means."""

    verdict: Verdict
    cache: int
    tokens: int
    spare: float


def _judge(plan: ServingPlan, memory: Memory, room: int, budget: int, per_token: int) -> _Case:
    cache, spare_bytes = max(0, room), room - plan.context * per_token
    if memory.kind == "cpu":
        # The CPU build takes what it was told to; by default as much as two users, or one long context, need.
        wanted = plan.kv_space_bytes or per_token * max(plan.context, TIGHT_USERS * plan.user_tokens)
        cache = min(wanted, cache) if plan.kv_space_bytes is None or room >= wanted else 0
        spare_bytes = room - (plan.kv_space_bytes or plan.context * per_token)
    tokens = kv_token_capacity(cache, per_token)
    spare = spare_bytes / budget
    if tokens < plan.context:
        return _Case("too_big", cache, tokens, spare)
    roomy = tokens >= TIGHT_USERS * plan.user_tokens and spare >= TIGHT_SPARE
    return _Case("fits" if roomy else "tight", cache, tokens, spare)


def _per_token(plan: ServingPlan) -> int:
    return kv_bytes_per_token(
        plan.shape,
        precision=plan.precision,
        kv_cache_dtype=plan.kv_cache_dtype,
        tensor_parallel=plan.tensor_parallel,
    )


def _weights_on_each(plan: ServingPlan) -> int:
    total = weights_bytes(
        shape=plan.shape,
        precision=plan.precision,
        file_bytes=plan.file_bytes,
        stored_precision=plan.stored_precision,
    )
    return -(-total // plan.tensor_parallel)


def _overhead(plan: ServingPlan, memory: Memory) -> Overhead:
    if memory.kind == "cpu":
        if plan.tensor_parallel != 1:
            raise CannotEstimate(f"Tensor parallel is {plan.tensor_parallel}; on the CPU device it must be 1.")
        return cpu_overhead(plan.shape)
    return gpu_overhead(
        plan.shape,
        total_bytes=memory.total_bytes,
        context=plan.context,
        gpu_name=memory.name,
        tensor_parallel=plan.tensor_parallel,
        max_num_seqs=plan.max_num_seqs,
        enforce_eager=plan.enforce_eager,
        engine_version=plan.engine_version,
    )


def _confidence(memory: Memory, verdicts: list[Verdict]) -> Confidence:
    """High when low, middle and high estimate agree; low when they disagree on whether it fits at all."""
    if len({verdict == "too_big" for verdict in verdicts}) > 1:
        return "low"
    # The CPU overhead rests on one measured model, so it never earns "high".
    return "high" if len(set(verdicts)) == 1 and memory.kind == "gpu" else "medium"


def _reason(plan: ServingPlan, memory: Memory, verdict: Verdict, case: _Case, short: int) -> str:
    where = "each GPU" if plan.tensor_parallel > 1 else "the GPU" if memory.kind == "gpu" else "RAM"
    users = case.tokens // plan.user_tokens
    room = f"Room for {users:,} {'user' if users == 1 else 'users'} with {plan.user_tokens:,} tokens each"
    if verdict == "fits":
        return f"{room}."
    if verdict == "tight":
        return f"{room}, with {max(0.0, case.spare):.0%} of {where} to spare."
    if case.tokens >= BLOCK_TOKENS:
        return f"{plan.context:,} tokens of context do not fit; set max_model_len to {case.tokens:,} or less."
    return f"Short by {short / GIB:.1f} GiB on {where}: weights, overhead and one context do not fit."
