"""The smallest change that makes a model fit: tried in the order of what it costs the person."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from apps.planning.capability import refusal
from apps.planning.gpu_types import GpuType
from apps.planning.memory import serving_fit
from apps.planning.parallel import split_over
from apps.planning.serving_plan import FitEstimate, Memory, ServingPlan
from apps.planning.shapes import CannotEstimate

_SHORTEST_CONTEXT = 2048
# Each precision's next smaller ones, the one that costs least quality first.
_SMALLER = {
    "fp32": ("bf16", "fp8", "int4-awq", "int4-gptq"), "bf16": ("fp8", "int4-awq", "int4-gptq"),
    "fp16": ("fp8", "int4-awq", "int4-gptq"), "fp8": ("int4-awq", "int4-gptq"), "int8": ("int4-awq", "int4-gptq"),
}  # fmt: skip
_INSTEAD = ("fp16", "fp8", "int4-gptq")  # of one that the GPU does not run
_FEWEST_SEQUENCES = 16


@dataclass(frozen=True, slots=True)
class Change:
    """What to set, in words, and what it gives."""

    words: str
    options: tuple[tuple[str, str | int | float], ...]
    fit: FitEstimate


def smallest_change(
    plan: ServingPlan, memory: Memory, most_gpus: int = 8, *, is_file: bool = False, gpu: GpuType | None = None
) -> Change | None:
    """The first change that makes the plan fit; where none does alone, a smaller precision with the context it leaves.

    None where it fits already or nothing here helps. `is_file`: a GGUF file, whose precision no engine changes.
    `gpu`: the type whose generation vLLM must run it on.
    """
    is_refused = bool(_refused(plan, gpu))
    try:
        if serving_fit(plan, memory).fits and not is_refused:
            return None
    except CannotEstimate:
        return None
    precisions = _INSTEAD if is_refused else () if is_file else _SMALLER.get(plan.precision, ())
    alone = _instead(plan) if is_refused else _candidates(plan, memory, most_gpus, precisions)
    return _first_fit(alone, memory, gpu) or _first_fit(_smaller_and_shorter(plan, memory, precisions), memory, gpu)


def _first_fit(changes: Iterable[_Candidate], memory: Memory, gpu: GpuType | None) -> Change | None:
    for words, options, changed in changes:
        if _refused(changed, gpu):
            continue
        try:
            fit = serving_fit(changed, memory)
        except CannotEstimate:
            continue
        if fit.fits:
            return Change(words, options, fit)
    return None


def _refused(plan: ServingPlan, gpu: GpuType | None) -> str:
    return refusal(gpu, plan.precision, kv_cache_dtype=plan.cache_dtype)


_Candidate = tuple[str, tuple[tuple[str, str | int | float], ...], ServingPlan]


def _instead(plan: ServingPlan) -> Iterator[_Candidate]:
    """Of a plan that the GPU does not run."""
    if plan.kv_cache_dtype != "auto":
        yield "leave kv_cache_dtype at auto", (("kv_cache_dtype", "auto"),), replace(plan, kv_cache_dtype="auto")
    yield from _loaded_as(plan, _INSTEAD)


def _loaded_as(plan: ServingPlan, precisions: Iterable[str]) -> Iterator[_Candidate]:
    for precision in precisions:
        other = replace(plan, precision=precision, file_bytes=None, quantization=None)
        yield f"load it as {precision}", (("precision", precision),), other


def _candidates(plan: ServingPlan, memory: Memory, most_gpus: int, precisions: Iterable[str]) -> Iterator[_Candidate]:
    yield from _shorter(plan, memory)
    if memory.kind == "gpu":
        yield from _same_weights(plan)
    yield from _loaded_as(plan, precisions)
    if memory.kind == "gpu":
        yield from _more_gpus(plan, most_gpus)


def _smaller_and_shorter(plan: ServingPlan, memory: Memory, precisions: Iterable[str]) -> list[_Candidate]:
    """The finest precision that leaves half of the context comes first; below that, the longest context."""
    found = []
    for words, options, smaller in _loaded_as(plan, precisions):
        try:
            shorter = list(_shorter(smaller, memory))
        except CannotEstimate:
            continue
        found += [(f"{words} and {more}", (*options, *added), both) for more, added, both in shorter]
    return sorted(found, key=lambda each: -min(each[2].context, plan.context // 2))


def _shorter(plan: ServingPlan, memory: Memory) -> Iterator[_Candidate]:
    longest = serving_fit(plan, memory).max_context
    if longest >= _SHORTEST_CONTEXT and longest < plan.context:
        length = longest // 1024 * 1024
        words = f"set max_model_len to {length:,} instead of {plan.context:,}"
        yield words, (("max_model_len", length),), replace(plan, max_model_len=length)


def _same_weights(plan: ServingPlan) -> Iterator[_Candidate]:
    if plan.cache_dtype == "auto":
        yield "keep the KV cache in fp8", (("kv_cache_dtype", "fp8"),), replace(plan, kv_cache_dtype="fp8")
    if (plan.max_num_seqs or 256) > _FEWEST_SEQUENCES:
        fewer = replace(plan, max_num_seqs=_FEWEST_SEQUENCES)
        yield f"plan for {_FEWEST_SEQUENCES} requests at once", (("max_num_seqs", _FEWEST_SEQUENCES),), fewer
    if (plan.gpu_memory_utilisation or 0) < 0.95:
        wider = replace(plan, gpu_memory_utilisation=0.95)
        yield "let it take 95 % of the GPU", (("gpu_memory_utilization", 0.95),), wider


def _more_gpus(plan: ServingPlan, most_gpus: int) -> Iterator[_Candidate]:
    count = plan.tensor_parallel * plan.pipeline_parallel * 2
    while count <= most_gpus:
        tensor, pipeline = split_over(plan.shape, count, plan.block, expert_parallel=plan.expert_parallel)
        options: tuple[tuple[str, int], ...] = (("tensor_parallel", tensor),)
        options += (("pipeline_parallel", pipeline),) if pipeline != plan.pipeline_parallel else ()
        words = f"use {count} GPUs ({', '.join(f'{name} {size}' for name, size in options)})"
        yield words, options, replace(plan, tensor_parallel=tensor, pipeline_parallel=pipeline)
        count *= 2
