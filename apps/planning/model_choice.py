"""Which model for this hardware: well-known models that fit, ranked by quality, speed or context, with the reason."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Literal

from apps.planning.configs import shape_from_config
from apps.planning.gpu_memory import NamedGpu
from apps.planning.memory import serving_fit
from apps.planning.reference import reference_model, reference_names
from apps.planning.reported_scores import ReportedScore, comparable_score
from apps.planning.serving_plan import FitEstimate, Memory, ServingPlan
from apps.planning.shapes import CannotEstimate, ModelShape
from apps.planning.speeds import ServingSpeed, serving_speed

Objective = Literal["quality", "speed", "context"]
QUALITY_BENCHMARK = "MMLU-Pro"
_PRECISIONS = ("bf16", "fp8", "int4-awq")
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
    score: ReportedScore | None
    why: str


def recommend_models(
    hardware: Iterable[NamedGpu], *, objective: Objective = "quality", context: int = 8192, most: int = 10
) -> list[ModelChoice]:
    """Best first; a model that does not fit is never among them. `hardware`: each kind of GPU with its count."""
    owned = list(hardware)
    choices = [choice for name in reference_names() if (choice := _best_of(name, owned, objective, context))]
    if objective == "quality":
        choices = [each for each in choices if each.score is not None]
    return sorted(choices, key=lambda each: _rank(each, objective), reverse=True)[:most]


def _best_of(name: str, owned: list[NamedGpu], objective: Objective, context: int) -> ModelChoice | None:
    """The model where it runs best: on the fewest GPUs, at the widest precision that fits."""
    reference = reference_model(name)
    shape = _shape(name)
    if shape.max_context and shape.max_context < context:
        return None
    score = comparable_score(name, QUALITY_BENCHMARK)
    if objective == "quality" and score is None:
        return None
    precisions = (reference.precision,) if reference.precision else _PRECISIONS
    found = [place for gpu in owned for precision in precisions if (place := _place(shape, gpu, precision, context))]
    if not found:
        return None
    plan, gpu, fit = min(found, key=lambda each: (each[0].tensor_parallel, _PRECISIONS_RANK.get(each[0].precision, 0)))
    speed = serving_speed(plan, gpu.kind) if gpu.kind else None
    return ModelChoice(
        name, plan.precision, gpu.title, plan.tensor_parallel, fit, speed, score, _why(plan, gpu, fit, speed, score)
    )


@cache
def _shape(name: str) -> ModelShape:
    return shape_from_config(reference_model(name).config)


_PRECISIONS_RANK = {name: rank for rank, name in enumerate(_PRECISIONS)}


def _place(
    shape: ModelShape, gpu: NamedGpu, precision: str, context: int
) -> tuple[ServingPlan, NamedGpu, FitEstimate] | None:
    """On as few of these GPUs as it takes; None where it fits on none."""
    for count in _COUNTS:
        if count > gpu.count:
            return None
        plan = ServingPlan(shape, precision=precision, max_model_len=context, tensor_parallel=count)
        try:
            fit = serving_fit(plan, Memory("gpu", gpu.usable_bytes, gpu.title))
        except CannotEstimate:
            continue
        if fit.verdict == "fits":
            return plan, gpu, fit
    return None


def _rank(choice: ModelChoice, objective: Objective) -> float:
    if objective == "quality":
        return choice.score.score if choice.score else 0.0
    if objective == "speed":
        return choice.speed.decode[1] if choice.speed else 0.0
    return float(choice.fit.max_context)


def _why(
    plan: ServingPlan, gpu: NamedGpu, fit: FitEstimate, speed: ServingSpeed | None, score: ReportedScore | None
) -> str:
    number = f"{plan.tensor_parallel} x " if plan.tensor_parallel > 1 else "one "
    parts = [f"Fits {number}{gpu.title} at {plan.precision} with room for {fit.concurrent_users:.0f} requests"]
    if speed:
        parts.append(f"about {speed.decode[1]:.0f} tokens/s for one (estimated)")
    if score:
        parts.append(f"{score.benchmark} {score.score:.1f} as reported by {score.setting or score.source}")
    return ", ".join(parts) + "."
