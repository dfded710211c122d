"""What the Models page shows: its headline and one row for each model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from apps.accounts.models import User
from apps.catalog.fit import DeviceClass, Fit, best_fit, device_classes
from apps.catalog.models import Artifact, Model, ModelImport, ModelVersion
from apps.catalog.querysets import SORTS

ROWS = 200
CLASSES = 4  # columns of the "runs on" cells


@dataclass(frozen=True)
class ModelRow:
    model: Model
    version: ModelVersion | None
    version_count: int
    artifact: Artifact | None
    hosts: list[str]
    fits: list[Fit]

    @property
    def runs_here(self) -> bool:
        """On a single device that we own."""
        return any(fit.fits and fit.count == 1 for fit in self.fits)


def model_list(user: User, *, text: str, sort: str) -> dict[str, Any]:
    """The template's context. An unknown sort key means newest first."""
    sort = sort if sort.removeprefix("-") in SORTS else "-added"
    visible = Model.objects.visible_to(user)
    models = list(visible.matching(text).with_newest().sorted_by(sort)[:ROWS])
    devices = device_classes()[:CLASSES]
    rows = model_rows(models, devices)
    imports = ModelImport.objects.visible_to(user).filter(job__finished_at=None).select_related("job")
    return {
        "rows": rows,
        "devices": devices,
        "imports": list(imports.order_by("-pk")[:10]),
        "text": text,
        "sort": sort,
        "total": visible.count(),
        "headline": _headline(rows, devices),
        "disk_bytes": sum(row.artifact.size_bytes for row in rows if row.artifact and row.hosts),
        "has_cpu_only": bool(devices) and devices[0].kind == "cpu",
    }


def model_rows(models: list[Model], devices: list[DeviceClass]) -> list[ModelRow]:
    """Rows for models that carry `with_newest`, with three queries for all of them."""
    ids = [model.newest_id for model in models if model.newest_id]  # type: ignore[attr-defined]
    versions = ModelVersion.objects.filter(pk__in=ids).select_related("model")
    newest = {version.model_id: version for version in versions.prefetch_related("artifacts__locations__host")}
    counts: dict[int, int] = {}
    for model_id in ModelVersion.objects.filter(model__in=models).values_list("model_id", flat=True):
        counts[model_id] = counts.get(model_id, 0) + 1
    return [_row(model, newest.get(model.pk), counts.get(model.pk, 0), devices) for model in models]


def _row(model: Model, version: ModelVersion | None, count: int, devices: list[DeviceClass]) -> ModelRow:
    artifact = next(iter(version.artifacts.all()), None) if version else None
    hosts = sorted(location.host.name for location in artifact.locations.all()) if artifact else []
    fits = [best_fit(version, device) for device in devices] if version else []
    return ModelRow(model, version, count, artifact, hosts, fits)


def _headline(rows: list[ModelRow], devices: list[DeviceClass]) -> str:
    if not rows:
        return "Models"
    count = f"{len(rows)} {'model' if len(rows) == 1 else 'models'}"
    if not devices:
        return f"{count}; no host is connected to run them"
    able = sum(row.runs_here for row in rows)
    where = "on the CPU of a host here" if devices[0].kind == "cpu" else "on a single GPU you own"
    verb = "runs" if able == 1 else "run"
    return f"{able} of {count} {verb} {where}"
