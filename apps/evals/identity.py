"""When may two scores be compared? Only where they were taken alike: same questions, asked the same way.

What was asked differs, so it is named and never refused: the model version, the precision it was computed
in, and the chat template that the model brings. Whether a template was applied at all is an engine option,
and that must agree. All of it is part of a score's identity and stands in the run's receipt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from apps.engines.base import RunSpec
from apps.evals.models import Score

# field of Score -> the words people read
CONDITIONS = {
    "engine": "engine",
    "engine_version": "engine version",
    "engine_options": "engine options",
    "suite_version": "suite version",
    "task_version": "task version",
    "metric": "metric",
    "filter": "filter",
    "num_fewshot": "few-shot examples",
}
# Options that change how fast an engine answers, not what; precision stands in its own column.
_WITHOUT_EFFECT = {"batch_size", "allow_downloads", "dtype"}
_SHORT = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}


@dataclass(frozen=True)
class Difference:
    """A condition in which two scores differ."""

    field: str
    title: str
    here: str
    there: str

    def __str__(self) -> str:
        return f"{self.title} ({self.here} here, {self.there} there)"


def differences(here: Score, there: Score) -> list[Difference]:
    """Empty where the two may be compared."""
    found = []
    for field, title in CONDITIONS.items():
        a, b = getattr(here, field), getattr(there, field)
        if a != b:
            found.append(Difference(field, title, *(_words(field, each, a, b) for each in (a, b))))
    return found


def _words(field: str, value: Any, a: Any, b: Any) -> str:
    if isinstance(value, dict):  # only the options that differ
        keys = sorted(key for key in {*a, *b} if a.get(key) != b.get(key))
        return ", ".join(f"{key} {value.get(key, 'not set')}" for key in keys)
    return str(value) if value != "" else "not known"


def condition_key(score: Score) -> tuple[str, ...]:
    """Equal for scores that may be compared."""
    values = (getattr(score, field) for field in CONDITIONS)
    return tuple(repr(sorted(value.items())) if isinstance(value, dict) else str(value) for value in values)


def options_that_matter(spec: RunSpec) -> dict[str, Any]:
    kept = {name: value for name, value in spec.options.items() if name not in _WITHOUT_EFFECT}
    limit = spec.payload.get("limit")
    return kept if limit is None else kept | {"limit": limit}


def computed_precision(spec: RunSpec, variant: str) -> str:
    """`auto` takes float32 on the CPU and the model's own precision on a GPU."""
    chosen = str(spec.options.get("dtype", "auto"))
    if chosen == "auto":
        chosen = "float32" if variant == "cpu" else spec.model.precision if spec.model else ""
    return _SHORT.get(chosen, chosen)
