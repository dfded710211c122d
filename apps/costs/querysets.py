"""Sums over costs, each in one query."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any, Self

from django.db import models
from django.db.models import Count, F, Q, Sum

from apps.accounts.models import User

GROUPS = {
    "team": {"label": F("team__name")},
    "gpu_type": {"label": F("device_type")},
    "day": {"label": F("day")},
    "kind": {"label": F("job__kind")},
}
_GPU = ~Q(device_type="cpu")


class CostQuerySet(models.QuerySet[Any]):
    def visible_to(self, user: User) -> Self:
        return self if user.is_superuser else self.filter(team_id__in=user.memberships.values("team_id"))

    def of_month(self, first: date) -> Self:
        return self.filter(day__gte=first, day__lt=next_month(first))

    def summed(self) -> dict[str, Any]:
        """GPU-seconds, CPU-seconds, joules, money spent, and how many entries have no price."""
        return self.aggregate(**_SUMS)

    def grouped(self, by: str) -> list[dict[str, Any]]:
        """The sums of each group, dearest first."""
        rows = self.values(**GROUPS[by]).annotate(**_SUMS)
        return list(rows.order_by(F("spent").desc(nulls_last=True), "-gpu_seconds", "label"))

    def by_day_and_team(self) -> list[dict[str, Any]]:
        return list(self.values("day", label=F("team__name")).annotate(**_SUMS).order_by("day", "label"))

    def by_job(self, jobs: Sequence[int]) -> dict[int, Decimal]:
        """What each of these jobs cost, where a price is known."""
        rows = self.filter(job__in=jobs).exclude(cost=None).order_by().values("job")
        return dict(rows.annotate(spent=Sum("cost")).values_list("job", "spent"))


_SUMS = {
    "gpu_seconds": Sum("device_seconds", filter=_GPU, default=0.0),
    "cpu_seconds": Sum("device_seconds", filter=~_GPU, default=0.0),
    "energy_joules": Sum("energy_joules"),
    "spent": Sum("cost"),
    "unpriced": Count("pk", filter=_GPU & Q(cost=None)),
    "jobs": Count("job", distinct=True),
}


def next_month(first: date) -> date:
    return date(first.year + first.month // 12, first.month % 12 + 1, 1)
