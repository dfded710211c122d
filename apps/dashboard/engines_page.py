"""What the Engines page shows: the map of the stack, with what is pinned, installed and measured here beside it."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import Count
from django.utils import timezone

from apps.accounts.models import User
from apps.accounts.problems import Problem
from apps.catalog.engines_for import OUR_NAMES
from apps.dashboard.engine_environments import environments_by_engine
from apps.dashboard.levels_here import LevelHere, levels_here
from apps.dashboard.plan_answers import fleet_gpus
from apps.dashboard.usage import visible_usage
from apps.engines.registry import ENGINES, get_engine
from apps.evals.models import Score
from apps.gateway.usage import Percentile
from apps.jobs.models import Attempt
from apps.planning.model_choice import Objective, Recommendation, recommend_models
from apps.planning.shapes import CannotEstimate
from apps.planning.stack_map import Quantisation, ServingEngine, TrainingTool, stack_map
from apps.serving.models import Endpoint

DAYS, RUNS = 30, 1000  # of requests; of fine-tunes
OBJECTIVES: dict[Objective, str] = {"quality": "Quality", "speed": "Speed", "context": "Context"}


@dataclass(frozen=True)
class MeasuredHere:
    """Of the last 30 days, over the gateway: middle values of answered requests."""

    requests: int
    ttft_ms: float | None
    tokens_per_second: float | None


@dataclass(frozen=True)
class ServingRow:
    engine: ServingEngine
    version: str  # ours; empty where there is no adapter yet
    environments: str  # where it is installed; empty: nowhere, and nobody tried
    measured: MeasuredHere | None

    @property
    def abilities(self) -> list[bool]:
        """In the order of the table's columns."""
        each = self.engine
        return [each.speculative_decoding, each.prefix_caching, each.structured_output, each.multi_node]


@dataclass(frozen=True)
class TrainingRow:
    tool: TrainingTool
    version: str
    environments: str  # where it is installed; empty: nowhere, and nobody tried
    runs: int
    steps_per_second: float | None  # of the middle run
    timed_runs: int


@dataclass(frozen=True)
class LevelRow:
    level: Quantisation
    here: LevelHere


def engines_page(user: User, *, gpu: str, objective: str) -> dict[str, Any]:
    """The template's context. An unknown objective means quality."""
    chosen: Objective = next((name for name in OBJECTIVES if name == objective), "quality")
    known, environments, levels = stack_map(), environments_by_engine(), levels_here(user)
    found, refusal = _choices(gpu, chosen)
    return {
        "serving": [_serving_row(user, each, environments) for each in known.serving_engines],
        "training": [_training_row(each, environments) for each in known.training_tools],
        "benchmarks": known.benchmarks,
        "quantisations": [LevelRow(each, levels.get(each.name, LevelHere())) for each in known.quantisations],
        "other_systems": known.other_systems,
        "choices": found.choices if found else (),
        "left_out": found.left_out if found else (),
        "refusal": refusal,
        "gpu": gpu,
        "objective": chosen,
        "objectives": OBJECTIVES,
        "scored_tasks": Score.objects.values("task").distinct().count(),
    }


def _choices(gpu: str, objective: Objective) -> tuple[Recommendation | None, str]:
    try:
        return recommend_models(fleet_gpus(gpu or None, None, 1), objective=objective, most=5), ""
    except (CannotEstimate, Problem) as error:
        return None, str(error)


def _version(name: str) -> str:
    ours = OUR_NAMES.get(name, name)
    return get_engine(ours).version if ours in ENGINES else ""


def _serving_row(user: User, engine: ServingEngine, environments: dict[str, str]) -> ServingRow:
    ours = OUR_NAMES.get(engine.name, engine.name)
    return ServingRow(engine, _version(engine.name), environments.get(ours, ""), _measured(user, ours))


def _measured(user: User, engine: str) -> MeasuredHere | None:
    """None before the first answered request."""
    endpoints = Endpoint.objects.filter(engine=engine).values("pk")
    since = timezone.now() - timedelta(days=DAYS)
    answered = visible_usage(user).filter(status=200, at__gte=since, endpoint_id__in=endpoints)
    found = answered.aggregate(requests=Count("pk"), ttft=Percentile("ttft_ms", fraction=0.5))
    if not found["requests"]:
        return None
    rows = answered.filter(completion_tokens__gt=0, duration_ms__gt=0).order_by("-at")
    rates = sorted(1000 * tokens / ms for tokens, ms in rows.values_list("completion_tokens", "duration_ms")[:1000])
    middle = rates[len(rates) // 2] if rates else None
    return MeasuredHere(found["requests"], found["ttft"], middle)


def _training_row(tool: TrainingTool, environments: dict[str, str]) -> TrainingRow:
    ended_well = Attempt.objects.filter(job__spec__engine=tool.name, exit_code=0, reason="")
    measured = ended_well.filter(measurements__step_seconds__gt=0).order_by("-ended_at")
    steps = [1 / seconds for seconds in measured.values_list("measurements__step_seconds", flat=True)[:RUNS]]
    middle = statistics.median(steps) if steps else None
    here = environments.get(tool.name, "")
    return TrainingRow(tool, _version(tool.name), here, ended_well.count(), middle, len(steps))
