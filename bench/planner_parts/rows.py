"""A line of the bench's table, and the errors it is made of."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

DATA = Path(__file__).resolve().parent.parent / "planner_data"


@dataclass(frozen=True)
class Row:
    id: str
    what: str
    value: float
    unit: str
    target: str
    ok: bool
    detail: str = ""

    @property
    def mark(self) -> str:
        return "ok" if self.ok else "MISSED"

    def as_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("id", "what", "value", "unit", "target", "ok")}


def records(name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((DATA / name).read_text())
    return rows


def error_rows(id: str, what: str, errors: dict[str, float], median_bar: float, worst_bar: float | None) -> list[Row]:
    """Median and worst absolute error in per cent; `errors` by the record's name."""
    sizes = {name: abs(error) * 100 for name, error in errors.items()}
    worst = max(sizes, key=lambda name: sizes[name])
    middle = median(sizes.values())
    count = f"n {len(sizes)}, worst {sizes[worst]:.2f} %: {worst}"
    found = [Row(id, f"{what}, median error", middle, "%", f"<= {median_bar}", middle <= median_bar, count)]
    if worst_bar is not None:
        ok = sizes[worst] <= worst_bar
        found.append(Row(f"{id}-worst", f"{what}, worst error", sizes[worst], "%", f"<= {worst_bar}", ok, worst))
    return found
