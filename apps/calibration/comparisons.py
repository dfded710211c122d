"""Predicted beside measured, for one job."""

from __future__ import annotations

from dataclasses import dataclass

from apps.calibration.models import Estimate
from apps.jobs.models import Job

TITLES = {
    "weights_bytes": "Weights",
    "kv_cache_bytes": "KV cache",
    "kv_cache_tokens": "Tokens in the KV cache",
    "max_concurrency": "Requests at full context",
    "load_seconds": "Load time",
    "start_seconds": "Start until it answers",
    "download_seconds": "Download",
    "peak_memory_bytes": "Peak memory",
    "train_seconds": "Training time",
    "step_seconds": "Step time",
    "eval_seconds": "Evaluation time",
    "decode_tokens_per_second": "Decode speed",
}


@dataclass(frozen=True)
class Comparison:
    """`measured` None: not yet. `error_fraction` is measured / estimated - 1."""

    quantity: str
    title: str
    unit: str
    low: float
    value: float
    high: float
    measured: float | None

    @property
    def error_fraction(self) -> float | None:
        if self.measured is None or not self.value:
            return None
        return self.measured / self.value - 1


def compare(job: Job) -> list[Comparison]:
    """Every estimate of the job with the newest attempt's measurement of the same quantity."""
    measured: dict[str, float] = {}
    for attempt in sorted(job.attempts.all(), key=lambda attempt: attempt.epoch):
        measured |= attempt.measurements
    return [
        Comparison(
            quantity=row.quantity,
            title=TITLES.get(row.quantity, row.quantity),
            unit=row.unit,
            low=row.low,
            value=row.value,
            high=row.high,
            measured=measured.get(row.quantity),
        )
        for row in Estimate.objects.filter(job=job).order_by("pk")
    ]
