"""REST: what jobs, teams and GPU types cost in a month."""

from __future__ import annotations

from datetime import date
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from ninja import Router, Schema

from apps.accounts.problems import unknown_choice
from apps.accounts.rest import signed_in
from apps.costs.models import CostEntry
from apps.costs.months import month_named
from apps.costs.querysets import GROUPS
from apps.costs.spreadsheet import csv_answer
from apps.jobs.lookups import visible_job

router = Router(tags=["costs"])
FORMATS = ("json", "csv")


class SumOut(Schema):
    """GPU-seconds are GPUs times seconds, a slot or MIG slice counted as its share; money in `currency`."""

    label: str
    gpu_seconds: float
    cpu_seconds: float
    energy_joules: float | None  # null: no power was measured
    cost: float | None  # null: no price is known
    unpriced: int  # entries on GPUs without a price
    jobs: int


class CostsOut(Schema):
    month: date
    currency: str
    total: SumOut
    items: list[SumOut]


class JobCostOut(Schema):
    job: str
    currency: str
    total: SumOut
    items: list[SumOut]  # by day


def sum_out(row: dict[str, Any], label: str | None = None) -> dict[str, Any]:
    spent = row["spent"]
    named = {"label": str(row["label"] if label is None else label), "cost": None if spent is None else float(spent)}
    return row | named


@router.get("/costs", response=CostsOut)
def get_costs(
    request: HttpRequest, month: str = "", group: str = "team", format: str = "json"
) -> dict[str, Any] | HttpResponse:
    """Sums of one month (UTC), as `2026-11`, by `team`, `gpu_type`, `kind` or `day`.

    `format=csv` answers with a line for each attempt, day and type of device, which no group sums up.
    """
    if format not in FORMATS:
        raise unknown_choice("format", format, FORMATS, noun="format")
    if group not in GROUPS:
        raise unknown_choice("group", group, GROUPS, noun="group")
    first = month_named(month)
    entries = CostEntry.objects.visible_to(signed_in(request)).of_month(first)
    if format == "csv":
        return csv_answer(entries, first)
    return {
        "month": first,
        "currency": settings.CURRENCY,
        "total": sum_out(entries.summed(), "total"),
        "items": [sum_out(row) for row in entries.grouped(group)],
    }


@router.get("/jobs/{job_id}/cost", response=JobCostOut)
def get_job_cost(request: HttpRequest, job_id: str) -> dict[str, Any]:
    """What a job cost up to now, brought up to date every minute."""
    job = visible_job(request, job_id)
    entries = CostEntry.objects.filter(job=job)
    return {
        "job": job.public_id,
        "currency": settings.CURRENCY,
        "total": sum_out(entries.summed(), "total"),
        "items": [sum_out(row) for row in entries.grouped("day")],
    }
