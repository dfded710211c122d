"""One question and one answer of `stackweb fit`, as plain dicts: GiB on each GPU, tokens, requests.

Keys of both are listed in docs/planner.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from apps.planning.changes import smallest_change
from apps.planning.doubts import doubted
from apps.planning.fit_question import Question, read_question
from apps.planning.gguf import GgufSize
from apps.planning.gguf_changes import smallest_gguf_change
from apps.planning.llama_cpp import llama_cpp_fit
from apps.planning.loading import download_duration, load_duration
from apps.planning.memory import GIB, serving_fit
from apps.planning.other_engines import VLLM
from apps.planning.serving_plan import FitEstimate
from apps.planning.speeds import serving_speed

MOST_GPUS = 8  # that a change proposes
_SPEED_KEYS = tuple(
    f"{name}{part}"
    for name in ("decode_tokens_per_s", "prefill_tokens_per_s", "first_token_s")
    for part in ("", "_low", "_high")
)


def answer_line(line: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to one question. Raises CannotEstimate naming the key that is wrong."""
    asked = read_question(line)
    plan, gguf, fit = asked.plan, asked.gguf, _fit(asked)
    stored = gguf.middle if gguf else fit.weights_bytes * plan.tensor_parallel * plan.pipeline_parallel
    speed = _speed(asked) if fit.fits else dict.fromkeys(_SPEED_KEYS)
    times = _times(stored, "llama-cpp" if asked.loads_gguf else "vllm")
    split = {"tensor_parallel": plan.tensor_parallel, "pipeline_parallel": plan.pipeline_parallel}
    change = {"smallest_change": None if fit.fits else _change(asked)}
    return {"id": line.get("id")} | _answer(fit) | _file(gguf) | speed | times | split | change


def _fit(asked: Question) -> FitEstimate:
    if asked.gguf and asked.loads_gguf:
        fit = llama_cpp_fit(asked.plan, asked.memory, asked.gguf.middle)
    else:
        fit = serving_fit(asked.plan, asked.memory)
    fit = doubted(fit, asked.plan, asked.gpu, asked.engine, is_gguf=asked.gguf is not None)
    confidence = "low" if asked.is_doubtful else fit.confidence
    return replace(fit, confidence=confidence, notes=(*fit.notes, *asked.notes))


def _change(asked: Question) -> str | None:
    most = 1 if asked.gpu.is_slice else MOST_GPUS
    if asked.gguf and asked.loads_gguf:
        return smallest_gguf_change(asked.plan, asked.memory, asked.gguf.middle, most) or None
    kind = asked.gpu.kind if asked.engine in ("", VLLM) and asked.gguf is None else None
    change = smallest_change(asked.plan, asked.memory, most, is_file=asked.gguf is not None, gpu=kind)
    return change.words if change else None


def _file(gguf: GgufSize | None) -> dict[str, Any]:
    sizes = (gguf.middle, gguf.low, gguf.high) if gguf else (None, None, None)
    keys = (f"weights_file_gib{part}" for part in ("", "_low", "_high"))
    return {key: None if size is None else _gib(size) for key, size in zip(keys, sizes, strict=True)}


def _answer(fit: FitEstimate) -> dict[str, Any]:
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
        "kv_available_gib_per_gpu_low": _gib(fit.kv_room_bytes_low),
        "kv_available_gib_per_gpu_high": _gib(fit.kv_room_bytes_high),
        "missing_gib_per_gpu": _gib(fit.missing_bytes),
        "kv_bytes_per_token_per_gpu": fit.kv_bytes_per_token,
        "kv_tokens": fit.kv_tokens,
        "max_concurrency": round(fit.max_concurrency, 3),
        "max_model_len_possible": fit.max_context,
        "confidence": fit.confidence,
        "formula_version": fit.formula_version,
        "explanation": fit.reason,
        "notes": list(fit.notes),
    }


def _speed(asked: Question) -> dict[str, Any]:
    """Of one request with 1,024 tokens of prompt; all null where the GPU's speed is not known."""
    file_bytes = asked.gguf.middle if asked.gguf and asked.loads_gguf else None
    speed = serving_speed(asked.plan, asked.gpu.kind, gguf_bytes=file_bytes) if asked.gpu.kind else None
    if speed is None:
        return dict.fromkeys(_SPEED_KEYS)
    figures = [each for low, middle, high in (speed.decode, speed.prefill, speed.first_token_seconds)
               for each in (middle, low, high)]  # fmt: skip
    return {key: _three(figure) for key, figure in zip(_SPEED_KEYS, figures, strict=True)}


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
