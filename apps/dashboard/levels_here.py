"""What quantising cost and gained here: our own scores and decode speeds of one model at two precisions.

A pair is a quantised version and a 16-bit version (32 bits where the CPU computed) of the same model, or of the model
that it was quantised from. Scores of a pair count where they may be compared at all, speeds where both were measured
on the same devices.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from apps.accounts.models import User
from apps.catalog.models import LineageEdge, ModelVersion
from apps.dashboard.measured_here import measured_here
from apps.evals.identity import condition_key
from apps.evals.models import EvalRun, Score
from apps.serving.models import Endpoint

PLAIN = ("bf16", "fp16", "fp32", "BF16", "F16")
NEWEST, SERVED = 2000, 100  # scores, and versions, that are read
ByLevel = dict[str, float]  # level -> a score or a speed of one model under the same conditions


@dataclass(frozen=True)
class LevelHere:
    """Medians against the plain weights, as fractions; None where no pair was measured."""

    retention: float | None = None
    retention_pairs: int = 0
    speed: float | None = None
    speed_pairs: int = 0


def levels_here(user: User) -> dict[str, LevelHere]:
    """Level, as the map names it -> what the runs that the user sees say of it."""
    kept, faster = _against_plain(_scores(user)), _against_plain(_speeds(user))
    return {
        level: LevelHere(_middle(kept[level]), len(kept[level]), _middle(faster[level]), len(faster[level]))
        for level in kept.keys() | faster.keys()
    }


def level_of(version: ModelVersion) -> str:
    """How its weights are stored, as the map names it."""
    if version.is_gguf:
        return str(version.facts.get("quantisation") or version.variant)
    return version.precision


def _middle(values: list[float]) -> float | None:
    return statistics.median(values) if values else None


def _against_plain(measured: Iterable[ByLevel]) -> dict[str, list[float]]:
    ratios: dict[str, list[float]] = defaultdict(list)
    for by_level in measured:
        plain = next((by_level[name] for name in PLAIN if by_level.get(name)), None)
        for level, value in by_level.items():
            if plain and level not in PLAIN:
                ratios[level].append(value / plain)
    return ratios


def _scores(user: User) -> Iterable[ByLevel]:
    """Of each model and task: the newest score of each level, of the metrics where more is better."""
    runs = EvalRun.objects.visible_to(user).done().order_by().values("pk")
    scores = Score.objects.filter(run__in=runs, is_headline=True, higher_is_better=True)
    sources = _sources()
    found: dict[tuple[object, ...], ByLevel] = defaultdict(dict)
    for score in scores.select_related("version").order_by("-pk")[:NEWEST]:
        stored = level_of(score.version)
        level = score.precision if stored in PLAIN else stored
        key = (sources.get(score.version_id, score.version.model_id), score.task, condition_key(score))
        found[key].setdefault(level, score.value)
    return found.values()


def _speeds(user: User) -> Iterable[ByLevel]:
    """Of each model and place: decode tokens/s of one request. FP8 that was made at load is a level of its own."""
    found: dict[tuple[object, ...], ByLevel] = defaultdict(dict)
    served = _served_at_two_levels(user)
    measured_of = measured_here(user, [version for _, version in served])
    for source, version in served:
        for (device, count, made), measured in measured_of[version.pk].items():
            if measured.decode is not None and device:
                key = (source, version.is_gguf, device, count)
                found[key].setdefault("fp8" if made else level_of(version), measured.decode)
    return found.values()


def _served_at_two_levels(user: User) -> list[tuple[int, ModelVersion]]:
    """Model and version, newest first; a model of which only one level was served has nothing to be held against."""
    endpoints = Endpoint.objects.filter(replicas__job__attempts__ready_at__isnull=False)
    served = set(endpoints.order_by().values_list("version", "options__quantization").distinct())
    versions = ModelVersion.objects.visible_to(user).filter(pk__in={pk for pk, _ in served}).order_by("-pk")[:NEWEST]
    sources = _sources()
    found = [(sources.get(version.pk, version.model_id), version) for version in versions]
    levels: dict[int, set[str]] = defaultdict(set)
    for source, version in found:
        levels[source] |= {"fp8" if made == "fp8" else level_of(version) for pk, made in served if pk == version.pk}
    return [(source, version) for source, version in found if len(levels[source]) > 1][:SERVED]


def _sources() -> dict[int, int]:
    """Quantised version -> the model that it was made from."""
    edges = LineageEdge.objects.filter(relation=LineageEdge.Relation.QUANTISATION)
    return dict(edges.values_list("child_id", "parent__model_id"))
