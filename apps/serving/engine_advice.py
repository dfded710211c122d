"""Which engine suits a plan: the planner's recommendation, for the hardware here and the options that were chosen."""

from __future__ import annotations

from dataclasses import dataclass, replace

from apps.catalog.engines_for import OUR_NAMES, hardware_of, starts
from apps.catalog.models import Artifact, ModelVersion
from apps.planning.engine_choice import EngineChoice, Requirements, recommend_engines
from apps.planning.shapes import CannotEstimate
from apps.serving.plans import Plan


@dataclass(frozen=True)
class Advised:
    """An engine of the map. `is_offered`: Stackweb can start it."""

    choice: EngineChoice
    is_chosen: bool
    is_offered: bool

    @property
    def can(self) -> bool:
        return not self.choice.refusals

    @property
    def why(self) -> str:
        return "; ".join(self.choice.refusals or self.choice.reasons)


@dataclass(frozen=True)
class EngineAdvice:
    """`chosen` None: an engine that the map does not know. `better`: the best that Stackweb starts, if another."""

    chosen: Advised | None
    better: Advised | None
    others: list[Advised]


def engine_advice(plan: Plan, version: ModelVersion) -> EngineAdvice:
    rows = []
    for choice in _recommended(_requirements(plan, version)):
        ours = OUR_NAMES.get(choice.engine.name, choice.engine.name)
        offered = starts(choice.engine.name, is_gguf=version.is_gguf)
        rows.append(Advised(choice, ours == plan.engine.name, offered))
    chosen = next((row for row in rows if row.is_chosen), None)
    best = next((row for row in rows if row.can and row.is_offered), None)
    better = best if chosen is not None and best is not None and not best.is_chosen else None
    return EngineAdvice(chosen, better, [row for row in rows if not row.is_chosen])


def _recommended(asked: Requirements) -> list[EngineChoice]:
    try:
        return recommend_engines(asked)
    except CannotEstimate:  # a precision of its own: judged by the rest
        return recommend_engines(replace(asked, precision="bf16"))


def _requirements(plan: Plan, version: ModelVersion) -> Requirements:
    options = plan.spec.options
    return Requirements(
        hardware=hardware_of("gpu" if plan.gpus else "cpu", plan.device.name if plan.device else ""),
        model_format="gguf" if version.is_gguf else "safetensors",
        precision=version.precision or "bf16",
        concurrency=int(options.get("max_num_seqs") or options.get("parallel") or 1),
        needs_lora=version.artifacts.filter(role=Artifact.Role.ADAPTER).exists(),
    )
