"""One question and one answer of `stackweb fit`, as plain dicts: GiB on each GPU, tokens, requests.

Keys of both are listed in docs/planner.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from apps.planning.changes import smallest_change
from apps.planning.fit_question import Question, read_question
from apps.planning.gpu_types import GpuType
from apps.planning.llama_cpp import llama_cpp_fit
from apps.planning.loading import download_duration, load_duration
from apps.planning.memory import GIB, serving_fit
from apps.planning.serving_plan import FitEstimate, ServingPlan
from apps.planning.speeds import serving_speed


def answer_line(line: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to one question. Raises CannotEstimate naming the key that is wrong."""
    asked = read_question(line)
    plan, file_bytes, fit = asked.plan, asked.gguf_bytes, _fit(asked)
    stored = file_bytes or fit.weights_bytes * plan.tensor_parallel * plan.pipeline_parallel
    loader = "vllm" if file_bytes is None else "llama-cpp"
    speed = _speed(plan, asked.gpu.kind if fit.fits else None, file_bytes)
    answer = {"id": line.get("id")} | _answer(fit, file_bytes) | speed | _times(stored, loader)
    change = smallest_change(plan, asked.memory) if file_bytes is None and not fit.fits else None
    split = {"tensor_parallel": plan.tensor_parallel, "pipeline_parallel": plan.pipeline_parallel}
    return answer | split | {"smallest_change": change.words if change else None}


def _fit(asked: Question) -> FitEstimate:
    if asked.gguf_bytes is None:
        fit = serving_fit(asked.plan, asked.memory)
    else:
        fit = llama_cpp_fit(asked.plan, asked.memory, asked.gguf_bytes)
    confidence = "low" if asked.is_doubtful else fit.confidence
    return replace(fit, confidence=confidence, notes=(*fit.notes, *asked.notes))


def _answer(fit: FitEstimate, file_bytes: int | None) -> dict[str, Any]:
    return {
        "fits": fit.fits,
        "verdict": fit.verdict,
        "reason": fit.shortage,
        "weights_gib_per_gpu": _gib(fit.weights_bytes),
        "activation_peak_gib": _gib(fit.activation_bytes),
        "non_torch_gib": _gib(fit.buffer_bytes),
        "overhead_gib": _gib(fit.overhead_bytes),
        "overhead_gib_low": _gib(fit.overhead_bytes_low),
        "overhead_gib_high": _gib(fit.overhead_bytes_high),
        "kv_available_gib_per_gpu": _gib(fit.kv_room_bytes),
        "kv_available_gib_per_gpu_low": _gib(fit.kv_cache_bytes_low),
        "kv_available_gib_per_gpu_high": _gib(fit.kv_cache_bytes_high),
        "kv_bytes_per_token_per_gpu": fit.kv_bytes_per_token,
        "kv_tokens": fit.kv_tokens,
        "max_concurrency": round(fit.max_concurrency, 3),
        "max_model_len_possible": fit.max_context,
        "weights_file_gib": None if file_bytes is None else _gib(file_bytes),
        "confidence": fit.confidence,
        "formula_version": fit.formula_version,
        "explanation": fit.reason,
        "notes": list(fit.notes),
    }


def _speed(plan: ServingPlan, kind: GpuType | None, file_bytes: int | None) -> dict[str, Any]:
    """Of one request with 1,024 tokens of prompt; all null where it does not fit or the GPU's speed is not known."""
    speed = serving_speed(plan, kind, gguf_bytes=file_bytes) if kind else None
    names = ("decode_tokens_per_s", "prefill_tokens_per_s", "first_token_s")
    ranges = (speed.decode, speed.prefill, speed.first_token_seconds) if speed else (None, None, None)
    answer: dict[str, Any] = {}
    for name, figures in zip(names, ranges, strict=True):
        low, middle, high = figures or (None, None, None)
        answer |= {name: _three(middle), f"{name}_low": _three(low), f"{name}_high": _three(high)}
    return answer


def _times(stored: int, engine: str) -> dict[str, Any]:
    """Seconds until the weights are on a disk, and from there until the engine answers."""
    answer: dict[str, Any] = {}
    for name, took in (("download_s", download_duration(stored)), ("load_s", load_duration(stored, engine))):
        low, middle, high = (_three(each) for each in (took.seconds_low, took.seconds, took.seconds_high))
        answer |= {name: middle, f"{name}_low": low, f"{name}_high": high}
    return answer


def _three(figure: float | None) -> float | None:
    """To three digits: such estimates know no more."""
    return None if figure is None else float(f"{figure:.3g}")


def _gib(size: float) -> float:
    return round(size / GIB, 4)
