"""Keeps what was predicted, so that it can be held against what came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from apps.calibration.ledger import precedent_for
from apps.calibration.models import Estimate
from apps.jobs.models import Job


@dataclass(frozen=True)
class NewEstimate:
    """One predicted quantity: the middle estimate with its range."""

    quantity: str  # weights_bytes, kv_cache_tokens, load_seconds ...
    unit: str
    value: float
    low: float
    high: float
    confidence: str  # low | medium | high
    formula_version: str
    context: dict[str, Any] = field(default_factory=dict)


def record_estimates(*, job: Job, estimates: Sequence[NewEstimate]) -> None:
    """The first estimate of a quantity stays: what was shown before the run is what counts."""
    Estimate.objects.bulk_create([Estimate(job=job, **vars(estimate)) for estimate in estimates], ignore_conflicts=True)


@dataclass(frozen=True)
class PastAccuracy:
    """What earlier runs say of a new estimate. `corrected` None: too few runs for a correction."""

    n: int
    median_error: float  # a fraction
    device: str
    engine: str
    family: str  # whose runs these were; empty: of all models
    factor: float | None
    corrected: float | None
    unit: str


def past_accuracy(estimates: Sequence[NewEstimate], quantity: str) -> PastAccuracy | None:
    """How such an estimate fared on this device and engine, of the model's family first; None without the quantity or
    without a run."""
    new = next((each for each in estimates if each.quantity == quantity), None)
    if new is None:
        return None
    device, engine, family = (str(new.context.get(name, "")) for name in ("device", "engine", "family"))
    precedent = precedent_for(
        quantity=quantity, device=device, engine=engine, formula_version=new.formula_version, family=family
    )
    if precedent is None:
        return None
    known = precedent.accuracy
    corrected = None if known.factor is None else new.value * known.factor
    return PastAccuracy(
        known.n, known.median_error, device, engine, precedent.family, known.factor, corrected, new.unit
    )
