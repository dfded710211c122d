"""An estimate beside what was measured, on the wire."""

from __future__ import annotations

from typing import Any

from ninja import Schema

from apps.calibration.comparisons import compare
from apps.jobs.models import Job


class EstimateOut(Schema):
    """Middle estimate with its range, in `unit`; `measured` is null until the engine has said it."""

    quantity: str
    unit: str
    low: float
    value: float
    high: float
    measured: float | None
    error_fraction: float | None  # measured / value - 1


def estimates_out(job: Job) -> list[dict[str, Any]]:
    return [{name: getattr(each, name) for name in EstimateOut.model_fields} for each in compare(job)]
