"""The smallest change that makes a GGUF model fit: tried in the order of what it costs the person."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from apps.planning.gguf import QUANTISATIONS, TYPE_BITS, gguf_file_bytes
from apps.planning.llama_cpp import cache_value_bytes, layers_that_fit, llama_cpp_fit
from apps.planning.serving_plan import Memory, ServingPlan
from apps.planning.shapes import EMBEDDING

_SHORTEST_CONTEXT = 2048
_NARROW_CACHE = "q8_0"
_LADDER = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M")  # below, answers suffer more than from a smaller model


def smallest_gguf_change(plan: ServingPlan, memory: Memory, file_bytes: int, most_gpus: int = 8) -> str:
    """In words; the last resort is layers on the CPU. Empty where it fits already or nothing here helps."""
    if llama_cpp_fit(plan, memory, file_bytes).fits:
        return ""
    for words, changed, size in _candidates(plan, memory, file_bytes, most_gpus):
        if llama_cpp_fit(changed, memory, size).fits:
            return words
    layers = layers_that_fit(plan, memory, file_bytes) if memory.kind == "gpu" else 0
    return f"keep {layers} of {plan.shape.layers} layers on the GPU, the others on the CPU, slowly" if layers else ""


def _candidates(
    plan: ServingPlan, memory: Memory, file_bytes: int, most_gpus: int
) -> Iterator[tuple[str, ServingPlan, int]]:
    longest = llama_cpp_fit(plan, memory, file_bytes).max_context // 1024 * 1024
    if _SHORTEST_CONTEXT <= longest < plan.context:
        words = f"set the context to {longest:,} tokens instead of {plan.context:,}"
        yield words, replace(plan, max_model_len=longest), file_bytes
    if cache_value_bytes(plan.kv_cache_dtype) > cache_value_bytes(_NARROW_CACHE):
        yield f"keep the KV cache in {_NARROW_CACHE}", replace(plan, kv_cache_dtype=_NARROW_CACHE), file_bytes
    for quantisation in _smaller(plan, memory, file_bytes):
        size = gguf_file_bytes(plan.shape, quantisation).middle
        if size < file_bytes:
            yield f"take {quantisation}, a file of {size / 2**30:.1f} GiB", plan, size
    count = plan.tensor_parallel * plan.pipeline_parallel * 2
    while memory.kind == "gpu" and count <= most_gpus:
        yield f"use {count} GPUs", replace(plan, tensor_parallel=1, pipeline_parallel=count), file_bytes
        count *= 2


def _smaller(plan: ServingPlan, memory: Memory, file_bytes: int) -> list[str]:
    """Quantisations whose usual bits alone do not rule them out: sizing a file tensor by tensor takes a while."""
    gpus = plan.tensor_parallel * plan.pipeline_parallel
    most = min(file_bytes, memory.total_bytes * (gpus if memory.kind == "gpu" else 1))
    weights = plan.shape.parameters - plan.shape.parameters_of((EMBEDDING,))  # the embedding may stay in RAM
    return [each for each in _LADDER if 0 < weights * TYPE_BITS[QUANTISATIONS[each]] / 8 < most]
