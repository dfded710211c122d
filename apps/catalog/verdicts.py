"""Verdicts kept in the database: which version runs on which class of devices of this fleet.

A page reads them; a chore fills them. One of an older formula, or of devices that are gone, is never read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.contrib.postgres.aggregates import ArrayAgg
from django.db.models import Count, Exists, OuterRef, Q, QuerySet

from apps.catalog.fit import DeviceClass, RunsOn, best_fit, device_classes
from apps.catalog.models import ModelVersion, Verdict
from apps.planning.memory import FORMULA_VERSION

RULES = f"{FORMULA_VERSION}, fp8 at load, 8 requests, runs"  # what a verdict depends on beside its version and devices
SWEEP = 500  # versions judged by one sweep: some seconds of work
RUNS = ("fits", "tight")


def judge_missing(devices: Sequence[DeviceClass], *, limit: int = SWEEP) -> int:
    """Judges up to `limit` versions that lack a current verdict, newest first; how many there were."""
    lacks = [~Exists(_current([device]).filter(version=OuterRef("pk"))) for device in devices]
    if not lacks:
        return 0
    versions = list(ModelVersion.objects.filter(Q(*lacks, _connector=Q.OR)).order_by("-pk")[:limit])
    judge(versions, devices)
    return len(versions)


def judge(versions: Sequence[ModelVersion], devices: Sequence[DeviceClass]) -> None:
    """Works the verdicts out and keeps them in place of earlier ones."""
    fields = ["formula_version", "count", "precision", "verdict", "reason", "used_bytes"]
    Verdict.objects.bulk_create(
        [_verdict(version, device) for version in versions for device in devices],
        update_conflicts=True,
        unique_fields=["version", "device"],
        update_fields=fields,
        batch_size=1000,
    )


def forget_stale(devices: Sequence[DeviceClass]) -> int:
    """Deletes verdicts of older formulas and of devices that are gone."""
    return Verdict.objects.exclude(pk__in=_current(devices).values("pk")).delete()[0]


def sweep() -> None:
    """The chore: what is stale goes, what is missing comes."""
    devices = device_classes()
    forget_stale(devices)
    judge_missing(devices)


@dataclass(frozen=True)
class KeptFit(RunsOn):
    """A verdict as a `runs on` cell; None is one that the next sweep brings."""

    device: DeviceClass
    verdict: Verdict | None

    @property
    def count(self) -> int:  # type: ignore[override]
        return self.verdict.count if self.verdict else 1

    @property
    def precision(self) -> str:  # type: ignore[override]
        return self.verdict.precision if self.verdict else ""

    @property
    def cell(self) -> str:
        return super().cell if self.verdict else "…"

    @property
    def fits(self) -> bool:
        return self.verdict is not None and self.verdict.verdict in RUNS

    @property
    def why_not(self) -> str:
        return self.verdict.reason if self.verdict else "being worked out"


def kept_fits(version_ids: Iterable[int], devices: Sequence[DeviceClass]) -> dict[int, list[KeptFit]]:
    """Version -> one cell for each device class, with one query for all of them."""
    ids = list(version_ids)
    found = {(each.version_id, each.device): each for each in _current(devices).filter(version__in=ids)}
    return {pk: [KeptFit(device, found.get((pk, device.key))) for device in devices] for pk in ids}


def running_on_one(devices: Sequence[DeviceClass]) -> dict[str, set[int]]:
    """Device class key -> the versions that a single such device runs."""
    able = _current(devices).filter(verdict__in=RUNS, count=1).order_by()
    lists = dict(able.values_list("device").annotate(versions=ArrayAgg("version_id")))
    return {device.key: set(lists.get(device.key, ())) for device in devices}


def judged(devices: Sequence[DeviceClass]) -> set[int]:
    """The versions with a verdict for every one of the device classes."""
    counted = _current(devices).order_by().values("version").annotate(known=Count("pk"))
    return set(counted.filter(known=len(devices)).values_list("version", flat=True))


def _current(devices: Sequence[DeviceClass]) -> QuerySet[Verdict]:
    return Verdict.objects.filter(device__in=[each.key for each in devices], formula_version=RULES)


def _verdict(version: ModelVersion, device: DeviceClass) -> Verdict:
    fit = best_fit(version, device)
    return Verdict(
        version=version,
        device=device.key,
        formula_version=RULES,
        count=fit.count,
        precision=fit.precision,
        verdict=fit.estimate.verdict if fit.estimate else "",
        reason=fit.estimate.reason if fit.estimate else fit.problem,
        used_bytes=round(fit.used_bytes),
    )
