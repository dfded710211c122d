"""What the teams of a person used in a month: money, GPU time, energy, tokens."""

from __future__ import annotations

from calendar import monthrange
from datetime import date, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Count, F, Q, Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from apps.accounts.models import Team, User
from apps.accounts.problems import Problem
from apps.accounts.rest import signed_in
from apps.costs.models import CostEntry
from apps.costs.money import money, sign
from apps.costs.months import month_named, months_back
from apps.costs.querysets import CostQuerySet, next_month
from apps.costs.spreadsheet import csv_answer
from apps.dashboard.usage import visible_usage
from apps.dashboard.words import count_of
from apps.jobs.models import Job, JobKind
from apps.planning.gpu_types import PRICES_READ, gpu_type

MEASURES = {"spent": "Spend", "gpu_seconds": "GPU-hours", "cpu_seconds": "CPU-hours"}
JOBS_SHOWN = 20
SERIES = 5  # colours of the chart


@require_safe
def usage(request: HttpRequest) -> HttpResponse:
    facts = usage_facts(signed_in(request), _month(request), request.GET.get("show", ""))
    return render(request, "dashboard/usage.html", facts)


@require_safe
def usage_csv(request: HttpRequest) -> HttpResponse:
    first = _month(request)
    return csv_answer(CostEntry.objects.visible_to(signed_in(request)).of_month(first), first)


def _month(request: HttpRequest) -> date:
    """A month that nobody can read is this one."""
    try:
        return month_named(request.GET.get("month", ""))
    except Problem:
        return month_named("")


def usage_facts(user: User, first: date, show: str) -> dict[str, Any]:
    entries = CostEntry.objects.visible_to(user).of_month(first)
    sums = entries.summed()
    measure = show if show in MEASURES else next((name for name in MEASURES if sums[name]), "spent")
    return {
        "first": first,
        "months": months_back(month_named(""), 12),
        "currency": settings.CURRENCY,
        "headline": _headline(sums, first),
        "lede": _lede(sums),
        "sums": sums,
        "tokens": _tokens(user, first),
        "teams": _teams(user, entries, first),
        "gpu_types": [_gpu_type(row) for row in entries.grouped("gpu_type")],
        "kinds": entries.grouped("kind"),
        "jobs": _dearest_jobs(entries),
        "measure": measure,
        "measures": [(name, title) for name, title in MEASURES.items() if sums[name]],
        **_chart(entries, first, measure),
    }


def _headline(sums: dict[str, Any], first: date) -> str:
    when = f"{first:%B}"
    if sums["spent"]:
        return f"{money(sums['spent'], settings.CURRENCY)} spent in {when}"
    hours = sums["gpu_seconds"] / 3600
    if hours:
        return f"{hours:,.1f} GPU-hours used in {when}"
    hours = sums["cpu_seconds"] / 3600
    return f"{hours:,.1f} CPU-hours used in {when}" if hours else f"Nothing ran in {when}"


def _lede(sums: dict[str, Any]) -> str:
    parts = []
    if sums["unpriced"]:
        parts.append("Some GPUs have no price, so their time is counted and their cost is not; set one on the host.")
    if sums["cpu_seconds"] and not sums["gpu_seconds"]:
        parts.append("Time on the CPU is counted and has no price.")
    if sums["spent"] and settings.KWH_PRICE is None:
        parts.append("Energy is not in it: STACKWEB_KWH_PRICE is not set.")
    return " ".join(parts)


def _tokens(user: User, first: date) -> dict[str, Any]:
    return dict(
        visible_usage(user)
        .filter(at__date__gte=first, at__date__lt=next_month(first))
        .aggregate(
            requests=Count("pk"),
            prompt=Sum("prompt_tokens", default=0),
            completion=Sum("completion_tokens", default=0),
            refused=Count("pk", filter=Q(status=429)),
        )
    )


def _teams(user: User, entries: CostQuerySet, first: date) -> list[dict[str, Any]]:
    """Every team that used or was metered anything, with its quota."""
    served: dict[int, dict[str, Any]] = {
        row["team_id"]: dict(row)
        for row in visible_usage(user)
        .filter(at__date__gte=first, at__date__lt=next_month(first))
        .values("team_id")
        .annotate(requests=Count("pk"), tokens=Sum("prompt_tokens") + Sum("completion_tokens"))
    }
    used = {row["label"]: row for row in entries.grouped("team")}
    teams = Team.objects.filter(Q(pk__in=served) | Q(name__in=used)).order_by("name")
    rows = [_team_row(team, used.get(team.name, {}), served.get(team.pk, {})) for team in teams]
    return sorted(rows, key=lambda row: (-(row["spent"] or 0), -row["gpu_seconds"]))


def _team_row(team: Team, used: dict[str, Any], served: dict[str, Any]) -> dict[str, Any]:
    seconds = used.get("gpu_seconds", 0.0)
    quota = team.gpu_hours_per_month
    return {
        "name": team.name,
        "spent": used.get("spent"),
        "gpu_seconds": seconds,
        "cpu_seconds": used.get("cpu_seconds", 0.0),
        "requests": served.get("requests", 0),
        "tokens": served.get("tokens", 0),
        "quota_hours": quota,
        "quota_share": seconds / 3600 / quota if quota else None,
    }


def _gpu_type(row: dict[str, Any]) -> dict[str, Any]:
    known = gpu_type(row["label"])
    if known is None:
        return row | {"title": "CPU" if row["label"] == "cpu" else row["label"], "list_price": None}
    source = f"{known.price_source}, {PRICES_READ}" if known.hour_price else ""
    return row | {"title": known.title, "list_price": known.hour_price, "price_source": source}


def _dearest_jobs(entries: CostQuerySet) -> list[dict[str, Any]]:
    rows = entries.values("job_id", "job__name", "job__kind", "team__name").annotate(
        spent=Sum("cost"), seconds=Sum("device_seconds"), energy_joules=Sum("energy_joules")
    )
    found = rows.order_by(F("spent").desc(nulls_last=True), "-seconds", "-job_id")[:JOBS_SHOWN]
    return [
        row | {"public_id": f"{Job.id_prefix}-{row['job_id']}", "kind": JobKind(row["job__kind"]).label}
        for row in found
    ]


def _chart(entries: CostQuerySet, first: date, measure: str) -> dict[str, Any]:
    """A bar for each day of the month, stacked by team: the four largest by name, the rest as one."""
    totals: dict[str, float] = {}
    values: dict[tuple[date, str], float] = {}
    scale = 1.0 if measure == "spent" else 3600.0
    for row in entries.by_day_and_team():
        amount = float(row[measure] or 0) / scale
        values[row["day"], row["label"]] = amount
        totals[row["label"]] = totals.get(row["label"], 0.0) + amount
    names = sorted(totals, key=lambda name: -totals[name])
    shown, rest = (names, []) if len(names) <= SERIES else (names[: SERIES - 1], names[SERIES - 1 :])
    days = [first + timedelta(days=number) for number in range(monthrange(first.year, first.month)[1])]
    bars = [(day, [*(values.get((day, name), 0.0) for name in shown), _rest(values, day, rest)]) for day in days]
    series = [*shown, f"{count_of(len(rest), 'other team')}"] if rest else shown
    return {
        "bars": [(day, parts[: len(series)]) for day, parts in bars],
        "series": [
            {"name": name, "css": f"key-s{number}", "total": totals.get(name, sum(totals[other] for other in rest))}
            for number, name in enumerate(series, start=1)
        ],
        "series_names": series,
        "unit": f"{sign(settings.CURRENCY)} " if measure == "spent" else "",
        "chart_label": f"{MEASURES[measure]} a day in {first:%B}, by team",
    }


def _rest(values: dict[tuple[date, str], float], day: date, names: list[str]) -> float:
    return sum(values.get((day, name), 0.0) for name in names)
