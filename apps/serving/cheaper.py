"""Smaller ways to serve what an endpoint serves, for while it waits: another precision that the catalogue has already,
a shorter context, fewer GPUs. Each fits by the same estimate as the endpoint's own plan."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.models import Q

from apps.accounts.problems import Problem
from apps.catalog.fit import PLAIN_PRECISIONS
from apps.catalog.models import Artifact, LineageEdge, ModelVersion
from apps.catalog.policies import require_allowed
from apps.jobs.kinds import CheaperPlan
from apps.jobs.models import Job
from apps.planning.placement import gpu_count
from apps.serving.models import Endpoint
from apps.serving.plans import Plan, plan_serving

OTHER_VERSIONS = 3
SHORTEST_CONTEXT = 2048


def cheaper_plans(job: Job) -> Iterator[CheaperPlan]:
    """The smallest change first. Lazy: each costs a few queries."""
    endpoint = Endpoint.objects.select_related("version__model", "team").filter(replicas__job=job).first()
    if endpoint is None:
        return
    for version in [endpoint.version, *_other_precisions(endpoint)]:
        yield from _of_version(job, endpoint, version)


def _other_precisions(endpoint: Endpoint) -> list[ModelVersion]:
    """Newest first: of the same model, or made from this version by quantising it."""
    own = endpoint.version
    quantised = Q(parent_edges__parent=own, parent_edges__relation=LineageEdge.Relation.QUANTISATION)
    others = ModelVersion.objects.filter(Q(model=own.model) | quantised, team=endpoint.team)
    stored = others.filter(artifacts__role=Artifact.Role.WEIGHTS).exclude(precision__in=["", own.precision])
    return list(stored.select_related("model").distinct().order_by("-pk")[:OTHER_VERSIONS])


def _of_version(job: Job, endpoint: Endpoint, version: ModelVersion) -> Iterator[CheaperPlan]:
    options = dict(endpoint.options)
    if version.precision not in PLAIN_PRECISIONS:
        options.pop("quantization", None)
    is_other = version != endpoint.version
    for gpus in _counts(job.gpus_needed, is_other=is_other):
        asked = options | ({"tensor_parallel": gpus} if gpus else {})
        plan = _plan(endpoint, version, asked)
        if plan is None or plan.fit is None or plan.gpus != gpus:
            continue
        if plan.fit.fits and (is_other or gpus < job.gpus_needed):
            yield _cheaper(job, endpoint, plan, version)
        if not is_other and (shorter := _with_shorter_context(endpoint, version, asked, plan)):
            yield _cheaper(job, endpoint, shorter, version)


def _counts(gpus: int, *, is_other: bool) -> list[int]:
    """Powers of two below what the job asks for; as many as that only where something else is smaller."""
    fewer = [count for count in (1, 2, 4, 8) if count < gpus]
    return [*fewer, gpus] if is_other or not gpus else fewer


def _plan(endpoint: Endpoint, version: ModelVersion, options: dict[str, Any]) -> Plan | None:
    """None where the engine, the team's policy or the fleet refuses it."""
    try:
        require_allowed(version, endpoint.team)
        return plan_serving(version=version, engine=endpoint.engine, options=options, name=endpoint.name)
    except Problem:
        return None


def _with_shorter_context(
    endpoint: Endpoint, version: ModelVersion, options: dict[str, Any], plan: Plan
) -> Plan | None:
    """On GPUs the longest that fits, on the CPU half of it, whose cache takes half the memory."""
    if plan.fit is None or "max_model_len" not in plan.engine.Options.model_fields:
        return None
    asked = int(plan.spec.options.get("max_model_len") or version.context_length or 0)
    longest = plan.fit.max_context if plan.gpus else asked // 2
    length = longest // 1024 * 1024
    if not SHORTEST_CONTEXT <= length < asked:
        return None
    shorter = _plan(endpoint, version, options | {"max_model_len": length})
    return shorter if shorter and shorter.fit and shorter.fit.fits else None


def _cheaper(job: Job, endpoint: Endpoint, plan: Plan, version: ModelVersion) -> CheaperPlan:
    what = f"at {version.precision} ({version.public_id})" if version != endpoint.version else ""
    length = plan.spec.options.get("max_model_len")
    changed = [f"max_model_len {length:,}"] if length and length != endpoint.options.get("max_model_len") else []
    changed += [gpu_count(plan.gpus)] if plan.gpus < job.gpus_needed else []
    words = " ".join([what] * bool(what) + ["with " + " and ".join(changed)] * bool(changed))
    return CheaperPlan(words, plan.gpus, plan.vram_bytes, plan.ram_bytes)
