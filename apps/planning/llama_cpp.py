"""Memory of llama.cpp (and of Ollama, which runs it): whole layers on the GPU, the rest in RAM.

Weights are the GGUF file's bytes; the input embedding stays in RAM. The KV cache is 2 x layers x KV width x
context x bytes, with a smaller one of its own for layers with a window (window + one batch). The compute buffer holds
a batch of logits and, without flash attention, a batch of attention scores (ggml-org/llama.cpp
src/llama-kv-cache-iswa.cpp; loader logs in bench/planner_data). Rests on few logs: never more than medium confidence.
"""

from __future__ import annotations

from apps.planning.memory import GIB
from apps.planning.serving_plan import FitEstimate, Memory, ServingPlan, Verdict
from apps.planning.shapes import EMBEDDING, Cache, CannotEstimate, ModelShape

FORMULA_VERSION = "llama-cpp-3"
MICRO_BATCH = 512
_CONTEXT_BYTES = (0.25 * GIB, 0.45 * GIB, 0.8 * GIB)  # CUDA context and kernels
_PROCESS_BYTES = (0.02 * GIB, 0.06 * GIB, 0.2 * GIB)  # without a GPU: 0.05 GiB beside weights and cache of SmolLM2-135M
_TIGHT = 0.06
# Bytes of one cached value by the names of --cache-type-k and -v.
CACHE_TYPES = {"f32": 4.0, "f16": 2.0, "bf16": 2.0, "q8_0": 1.0625, "q5_1": 0.75, "q5_0": 0.6875, "q4_1": 0.625,
               "q4_0": 0.5625, "iq4_nl": 0.5625}  # fmt: skip
_ALSO = {"auto": "f16", "": "f16", "fp16": "f16", "fp8": "q8_0", "int8": "q8_0", "fp32": "f32"}


def cache_value_bytes(name: str) -> float:
    """Raises CannotEstimate for a cache type that llama.cpp does not have."""
    known = CACHE_TYPES.get(_ALSO.get(name.lower(), name.lower()))
    if known is None:
        raise CannotEstimate(f"KV cache type {name!r} is not known to llama.cpp; use one of {', '.join(CACHE_TYPES)}.")
    return known


def cache_bytes(shape: ModelShape, context: int, value_bytes: float) -> int:
    """The KV cache of one sequence of `context` tokens."""
    return round(sum(_layers_bytes(each, context, value_bytes) for each in shape.caches))


def _layers_bytes(cache: Cache, context: int, value_bytes: float) -> float:
    if cache.kind == "state":
        return cache.layers * cache.state_bytes
    kept = min(context, cache.window + MICRO_BATCH) if cache.window else context
    return cache.layers * cache.heads * cache.width * value_bytes * kept


def layers_that_fit(plan: ServingPlan, memory: Memory, file_bytes: int) -> int:
    """The most layers (of shape.layers) that the GPUs take, KV cache of the context included."""
    parts = _parts(plan, memory, file_bytes)
    room = parts.room - parts.overhead[1]
    each = (parts.weights + parts.cache) / plan.shape.layers
    return max(0, min(plan.shape.layers, int(room // each))) if each else plan.shape.layers


class _Parts:
    """Bytes on all GPUs together, when every layer is offloaded."""

    def __init__(self, plan: ServingPlan, memory: Memory, file_bytes: int) -> None:
        shape = plan.shape
        gpus = plan.tensor_parallel * plan.pipeline_parallel
        embedding = shape.parameters_of((EMBEDDING,)) / max(1, shape.parameters) * file_bytes
        self.value_bytes = cache_value_bytes(plan.kv_cache_dtype)
        self.weights = round(file_bytes if shape.tied_embeddings else file_bytes - embedding)
        self.cache = cache_bytes(shape, plan.context, self.value_bytes)
        logits = MICRO_BATCH * shape.vocab_size * 4
        scores = MICRO_BATCH * plan.context * shape.attention_heads * 4
        batch = MICRO_BATCH * (4 * shape.hidden_size + 2 * shape.ffn_size) * 4
        buffers = (logits, logits + batch, logits + batch + scores)
        if memory.kind == "cpu":  # pages that a short batch never touches take no RAM
            buffers = (0, logits // 4, logits + batch)
        self.context = _CONTEXT_BYTES if memory.kind == "gpu" else _PROCESS_BYTES
        self.overhead = [round(gpus * each + buffer) for each, buffer in zip(self.context, buffers, strict=True)]
        self.room = memory.total_bytes * gpus if memory.kind == "gpu" else memory.total_bytes


def _parts(plan: ServingPlan, memory: Memory, file_bytes: int) -> _Parts:
    return _Parts(plan, memory, file_bytes)


def llama_cpp_fit(plan: ServingPlan, memory: Memory, file_bytes: int) -> FitEstimate:
    """One server with one sequence of the context, every layer on the GPUs. Raises CannotEstimate."""
    parts, gpus = _parts(plan, memory, file_bytes), plan.tensor_parallel * plan.pipeline_parallel
    rooms = [max(0, parts.room - parts.weights - each) for each in reversed(parts.overhead)]
    needed = parts.weights + parts.cache + parts.overhead[1]
    spare = (parts.room - needed) / parts.room if parts.room else -1.0
    verdict: Verdict = "too_big" if spare < 0 else "tight" if spare < _TIGHT else "fits"
    token = round(cache_bytes(plan.shape, 2, parts.value_bytes) - cache_bytes(plan.shape, 1, parts.value_bytes))
    tokens = [_tokens_that_fit(plan, room, parts.value_bytes) for room in rooms]
    users = [room / max(1, cache_bytes(plan.shape, plan.user_tokens, parts.value_bytes)) for room in rooms]
    return FitEstimate(
        verdict=verdict,
        fits=verdict != "too_big",
        reason=_reason(plan, memory, file_bytes, verdict, needed - parts.room),
        shortage=None if verdict != "too_big" else "weights" if rooms[1] == 0 else "kv_cache",
        weights_bytes=parts.weights // gpus,
        kv_cache_bytes=min(parts.cache, rooms[1]) // gpus,
        kv_cache_bytes_low=min(parts.cache, rooms[0]) // gpus,
        kv_cache_bytes_high=min(parts.cache, rooms[2]) // gpus,
        kv_room_bytes=(parts.room - parts.weights - parts.overhead[1]) // gpus,
        overhead_bytes=parts.overhead[1] // gpus,
        overhead_bytes_low=parts.overhead[0] // gpus,
        overhead_bytes_high=parts.overhead[2] // gpus,
        activation_bytes=(parts.overhead[1] - round(parts.context[1] * gpus)) // gpus,
        buffer_bytes=round(parts.context[1]),
        kv_bytes_per_token=token // gpus,
        kv_tokens=tokens[1],
        kv_tokens_low=tokens[0],
        kv_tokens_high=tokens[2],
        max_context=min(tokens[1], plan.longest_context),
        max_concurrency=rooms[1] / max(1, parts.cache),
        tokens_per_user=plan.user_tokens,
        concurrent_users=users[1],
        concurrent_users_low=users[0],
        concurrent_users_high=users[2],
        spare_fraction=spare,
        required_bytes=needed // gpus,
        confidence="low" if abs(spare) < _TIGHT or plan.exceeds_model or plan.shape.confidence == "low" else "medium",
        formula_version=FORMULA_VERSION,
        notes=(*plan.shape.notes, *_context_notes(plan)),
    )


def _context_notes(plan: ServingPlan) -> list[str]:
    if not plan.exceeds_model:
        return []
    own = f"{plan.context:,} tokens are more than the {plan.shape.max_context:,} that the model is made for"
    return [f"{own}: llama.cpp warns and goes on, and answers may be nonsense."]


def _tokens_that_fit(plan: ServingPlan, room: int, value_bytes: float) -> int:
    """Tokens of the longest sequence whose cache fits; a layer with a window stops growing once it is full.

    Where no layer grows without end, tokens of as many contexts as there is room for.
    """
    growing = [each for each in plan.shape.caches if each.kind != "state" and not each.window]
    token = sum(_layers_bytes(each, 1, value_bytes) for each in growing)
    if not token:
        return int(room / max(1, cache_bytes(plan.shape, plan.context, value_bytes))) * plan.context
    low, high = 0, int(room // token)
    while low < high:
        middle = (low + high + 1) // 2
        fits = cache_bytes(plan.shape, middle, value_bytes) <= room
        low, high = (middle, high) if fits else (low, middle - 1)
    return low


def _reason(plan: ServingPlan, memory: Memory, file_bytes: int, verdict: Verdict, short: int) -> str:
    if verdict != "too_big":
        where = "Every layer fits on the GPU" if memory.kind == "gpu" else "Every layer fits in RAM"
        return f"{where}{'.' if verdict == 'fits' else ', with little to spare.'}"
    if memory.kind == "cpu":
        return f"Short by {short / GIB:.1f} GiB of RAM."
    layers = layers_that_fit(plan, memory, file_bytes)
    return (
        f"Short by {short / GIB:.1f} GiB: {layers} of {plan.shape.layers} layers fit on the GPU, "
        "the others run on the CPU, slowly."
    )
