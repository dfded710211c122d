"""Keeps what was predicted, so that it can be held against what came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

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
