"""Which model for this hardware: well-known models that fit, ranked by quality, speed or context, with the reason.

Only models that one independent tester scored are compared. The fastest model of all is a tiny one that helps nobody,
so for speed and context a model must also score at least three quarters of the best that fits here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Literal

from apps.planning.capability import refusal, served_precision
from apps.planning.configs import shape_from_config
from apps.planning.gpu_memory import NamedGpu
from apps.planning.memory import serving_fit
from apps.planning.reference import reference_model, reference_names
from apps.planning.reported_scores import ReportedScore, comparable_score
from apps.planning.serving_plan import FitEstimate, Memory, ServingPlan
from apps.planning.shapes import CannotEstimate, ModelShape
from apps.planning.speeds import ServingSpeed, serving_speed
from apps.planning.weights import weights_on_gpu

Objective = Literal["quality", "speed", "context"]
QUALITY_BENCHMARK = "MMLU-Pro"
GOOD_ENOUGH = 0.75  # of the best score that fits here
_PRECISIONS = ("bf16", "fp8", "int4-awq", "int4-gptq")
_COUNTS = (1, 2, 4, 8)


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A model on one kind of GPU; `score` is reported by others, `speed` and `fit` are estimates."""

    model_id: str
    precision: str
    gpu: str
    gpus: int
    fit: FitEstimate
    speed: ServingSpeed | None
    score: ReportedScore
    why: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Models that are not among the choices for the same reason, the best scores first."""

    reason: str
    model_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Recommendation:
    """Best first. For quality, `left_out` names only models with a better score than the last choice."""

    choices: tuple[ModelChoice, ...]
    left_out: tuple[LeftOut, ...]


def recommend_models(
    hardware: Iterable[NamedGpu], *, objective: Objective = "quality", context: int = 8192, most: int = 10
) -> Recommendation:
    """A model that does not fit is never among them. `hardware`: each kind of GPU with its count."""
    owned = list(hardware)
    choices: list[ModelChoice] = []
    missed: dict[str, list[str]] = {}
    for name, score in _scored():
        if objective == "quality" and len(choices) >= most:
            break
        if objective != "quality" and choices and score.score < GOOD_ENOUGH * choices[0].score.score:
            missed.setdefault(f"scores below {100 * GOOD_ENOUGH:.0f} % of the best that fits", []).append(name)
        elif 0 < _shape(name).max_context < context:
            missed.setdefault(f"made for less than {context:,} tokens", []).append(name)
        elif choice := _best_of(name, score, owned, context):
            choices.append(choice)
        else:
            missed.setdefault(f"does not fit with {context:,} tokens", []).append(name)
    if objective != "quality":
        choices.sort(key=lambda each: _rank(each, objective), reverse=True)
    left_out = tuple(LeftOut(reason, tuple(names)) for reason, names in missed.items())
    return Recommendation(tuple(choices[:most]), left_out)


@cache
def _scored() -> tuple[tuple[str, ReportedScore], ...]:
    """Well-known models with a comparable score, the best first."""
    found = [(name, score) for name in reference_names() if (score := comparable_score(name, QUALITY_BENCHMARK))]
    return tuple(sorted(found, key=lambda each: -each[1].score))


def _best_of(name: str, score: ReportedScore, owned: list[NamedGpu], context: int) -> ModelChoice | None:
    """The model where it runs best: on the fewest GPUs, at the widest precision that fits and that the GPU runs."""
    reference, shape = reference_model(name), _shape(name)
    precisions = (reference.precision,) if reference.precision else _PRECISIONS
    for count in _COUNTS:
        for asked in precisions:
            for gpu in owned:
                precision = served_precision(gpu.kind, asked)
                plan = ServingPlan(shape, precision=precision, max_model_len=context, tensor_parallel=count)
                fit = _fit(plan, gpu)
                if fit:
                    speed = serving_speed(plan, gpu.kind) if gpu.kind else None
                    why = _why(plan, gpu, fit, speed, score)
                    return ModelChoice(name, precision, gpu.title, count, fit, speed, score, why)
    return None


@cache
def _shape(name: str) -> ModelShape:
    return shape_from_config(reference_model(name).config)


def _fit(plan: ServingPlan, gpu: NamedGpu) -> FitEstimate | None:
    """None where it does not fit or run; weights are looked at first, as most models fail there."""
    if plan.tensor_parallel > gpu.count or refusal(gpu.kind, plan.precision):
        return None
    try:
        weights = weights_on_gpu(plan.shape, precision=plan.precision, tensor_parallel=plan.tensor_parallel)
        if weights > gpu.usable_bytes:
            return None
        fit = serving_fit(plan, Memory("gpu", gpu.usable_bytes, gpu.title))
    except CannotEstimate:
        return None
    return fit if fit.verdict == "fits" else None


def _rank(choice: ModelChoice, objective: Objective) -> float:
    """Where a GPU's speed is not known, fewer weights to read a token stand for it."""
    if objective == "context":
        return float(choice.fit.max_context)
    shape = _shape(choice.model_id)
    read = shape.active_parameters / shape.parameters * choice.fit.weights_bytes
    return choice.speed.decode[1] if choice.speed else 1 / max(1.0, read)


def _why(plan: ServingPlan, gpu: NamedGpu, fit: FitEstimate, speed: ServingSpeed | None, score: ReportedScore) -> str:
    number = f"{plan.tensor_parallel} x " if plan.tensor_parallel > 1 else "one "
    parts = [f"Fits {number}{gpu.title} at {plan.precision} with room for {fit.concurrent_users:.0f} requests"]
    if speed:
        parts.append(f"about {speed.decode[1]:.0f} tokens/s for one (estimated)")
    parts.append(f"{score.benchmark} {score.score:.1f} as reported by {score.setting or score.source}")
    return ", ".join(parts) + "."
