"""Reads of jobs and attempts."""

from __future__ import annotations

from typing import Any, Self

from django.db import models
from django.db.models import Q
from django.utils import timezone

from apps.accounts.querysets import OwnedQuerySet


class JobQuerySet(OwnedQuerySet):
    def open(self) -> Self:
        return self.filter(finished_at=None)

    def batch(self) -> Self:
        """What ends by itself: "jobs" where endpoints are counted apart."""
        return self.exclude(kind="serve")

    def waiting(self) -> Self:
        """Queued jobs in the order in which they should run; not those that back off for now."""
        due = Q(not_before=None) | Q(not_before__lte=timezone.now())
        return self.filter(due, status="queued").order_by("-priority", "pk")

    def for_display(self) -> Self:
        """With everything a row or page names, in a fixed number of queries."""
        return self.select_related("team", "created_by", "pinned_host").prefetch_related("attempts__host")


class AttemptQuerySet(models.QuerySet[Any]):
    def open(self) -> Self:
        return self.filter(ended_at=None)


class MetricQuerySet(models.QuerySet[Any]):
    def as_series(self) -> list[dict[str, Any]]:
        """[{name, steps, values}], each series in order of its steps."""
        series: dict[str, dict[str, Any]] = {}
        for name, step, value in self.order_by("name", "step").values_list("name", "step", "value"):
            one = series.setdefault(name, {"name": name, "steps": [], "values": []})
            one["steps"].append(step)
            one["values"].append(value)
        return list(series.values())
