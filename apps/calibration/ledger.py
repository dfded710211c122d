"""The ledger read: estimates of real runs that were answered by a measurement, and how accurate they were.

An estimate stays as it was shown. A correction counts for the same quantity on the same device and engine by the
same formula only: a new formula starts afresh. Models of the same family speak first, once there are enough runs of
them; before that all models do.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
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

    @property
    def family(self) -> str:
        """Of the model, as its config names the architecture; empty where the estimate does not say."""
        return str(self.estimate.context.get("family") or "")


@dataclass(frozen=True, slots=True)
class Group:
    """Entries of one quantity on one device and engine by one formula; of all models, or of one `family`."""

    quantity: str
    device: str
    engine: str
    formula_version: str
    family: str
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
    """Of all models together, most runs first."""
    return _grouped(of, lambda entry: "")


def family_groups(of: list[Entry]) -> list[Group]:
    """Of each family that is known, most runs first."""
    return _grouped([entry for entry in of if entry.family], lambda entry: entry.family)


def _grouped(of: list[Entry], family: Callable[[Entry], str]) -> list[Group]:
    sorted_out: dict[tuple[str, str, str, str, str], list[Outcome]] = defaultdict(list)
    for entry in of:
        key = (entry.estimate.quantity, entry.device, entry.engine, entry.estimate.formula_version, family(entry))
        sorted_out[key].append(entry.outcome)
    found = [Group(*key, accuracy) for key, outcomes in sorted_out.items() if (accuracy := accuracy_of(outcomes))]
    return sorted(found, key=lambda each: (-each.accuracy.n, each.title, each.device, each.family))


@dataclass(frozen=True, slots=True)
class Precedent:
    """How accurate such estimates were so far; `family` empty: those of all models."""

    family: str
    accuracy: Accuracy


def precedent_for(*, quantity: str, device: str, engine: str, formula_version: str, family: str) -> Precedent | None:
    """The family's once it has runs enough for a correction, else that of all models; None before the first run."""
    known = entries(quantity=quantity, device=device, engine=engine, formula_version=formula_version)
    own = accuracy_of([entry.outcome for entry in known if family and entry.family == family])
    if own is not None and own.factor is not None:
        return Precedent(family, own)
    every = accuracy_of([entry.outcome for entry in known])
    return Precedent("", every) if every else None
