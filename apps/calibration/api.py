"""REST: how accurate estimates were, by quantity, device, engine and formula."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema

from apps.accounts.rest import signed_in
from apps.calibration.ledger import Group, entries, family_groups, groups

router = Router(tags=["calibration"])


class AccuracyOut(Schema):
    """Errors are fractions of the estimate. `factor` corrects new estimates; null below three runs."""

    quantity: str
    device: str
    engine: str
    formula_version: str
    family: str  # of the models, as their configs name it; empty: all of them together
    n: int
    median_error: float
    bias: float
    nine_in_ten_within: float
    range_held: int  # measured values inside their stated range, of n
    factor: float | None


class AccuracyPage(Schema):
    items: list[AccuracyOut]
    next: str | None


@router.get("/calibration", response=AccuracyPage)
def list_accuracy(request: HttpRequest, quantity: str = "", device: str = "", engine: str = "") -> dict[str, Any]:
    """Every group that has met a measurement, most runs first, then those of each family of models; one page, because
    groups are few."""
    signed_in(request)
    known = entries(quantity=quantity, device=device, engine=engine)
    return {"items": [_out(group) for group in (*groups(known), *family_groups(known))], "next": None}


def _out(group: Group) -> dict[str, Any]:
    known = group.accuracy
    return {
        "quantity": group.quantity,
        "device": group.device,
        "engine": group.engine,
        "formula_version": group.formula_version,
        "family": group.family,
        "n": known.n,
        "median_error": known.median_error,
        "bias": known.bias,
        "nine_in_ten_within": known.nine_in_ten,
        "range_held": known.held,
        "factor": known.factor,
    }
