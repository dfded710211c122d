"""The ledger read: estimates of real runs that were answered by a measurement, and how accurate they were.

An estimate stays as it was shown. A correction counts for the same quantity on the same device and engine by the
same formula only: a new formula starts afresh.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from apps.calibration.comparisons import TITLES
from apps.calibration.models import Estimate
from apps.jobs.models import Attempt, Job
from apps.statistics.accuracy import Accuracy, Outcome, accuracy_of

NEWEST = 5000  # estimates that are read


@dataclass(frozen=True, slots=True)
class Entry:
    """One estimate with what came. `device` is a GPU's product name or CPU."""

    estimate: Estimate
    job: Job
    outcome: Outcome

    @property
    def device(self) -> str:
        return str(self.estimate.context.get("device") or "unknown device")

    @property
    def engine(self) -> str:
        return str(self.estimate.context.get("engine") or self.job.kind)


@dataclass(frozen=True, slots=True)
class Group:
    """Entries of one quantity on one device and engine by one formula."""

    quantity: str
    device: str
    engine: str
    formula_version: str
    accuracy: Accuracy

    @property
    def title(self) -> str:
        return TITLES.get(self.quantity, self.quantity)


def entries(**narrowed: str) -> list[Entry]:
    """Answered estimates, newest first. `narrowed`: quantity, device, engine or formula_version."""
    columns = {"quantity": "quantity", "formula_version": "formula_version", "device": "context__device",
               "engine": "context__engine"}  # fmt: skip
    rows = Estimate.objects.filter(**{columns[name]: value for name, value in narrowed.items() if value})
    found = list(rows.select_related("job").order_by("-pk")[:NEWEST])
    measured = _measurements({row.job_id for row in found})
    answered = []
    for row in found:
        value = measured[row.job_id].get(row.quantity)
        if value is not None and value > 0 and row.value > 0:
            answered.append(Entry(row, row.job, Outcome(row.value, row.low, row.high, value)))
    return answered


def _measurements(job_ids: set[int]) -> dict[int, dict[str, float]]:
    """Job -> quantity -> the newest attempt's word."""
    found: dict[int, dict[str, float]] = defaultdict(dict)
    attempts = Attempt.objects.filter(job_id__in=job_ids).exclude(measurements={}).order_by("epoch")
    for job_id, values in attempts.values_list("job_id", "measurements"):
        found[job_id] |= values
    return found


def groups(of: list[Entry]) -> list[Group]:
    """Most runs first."""
    sorted_out: dict[tuple[str, str, str, str], list[Outcome]] = defaultdict(list)
    for entry in of:
        key = (entry.estimate.quantity, entry.device, entry.engine, entry.estimate.formula_version)
        sorted_out[key].append(entry.outcome)
    found = [Group(*key, accuracy) for key, outcomes in sorted_out.items() if (accuracy := accuracy_of(outcomes))]
    return sorted(found, key=lambda each: (-each.accuracy.n, each.title, each.device))


def accuracy_here(*, quantity: str, device: str, engine: str, formula_version: str) -> Accuracy | None:
    """How accurate such estimates were so far; None before the first run."""
    known = entries(quantity=quantity, device=device, engine=engine, formula_version=formula_version)
    return accuracy_of([entry.outcome for entry in known])
