"""Reads of jobs and attempts."""

from __future__ import annotations

from typing import Any, Self

from django.db import models
from django.db.models import Case, Count, F, Q, Value, When, Window
from django.db.models.functions import Mod, RowNumber
from django.utils import timezone

from apps.accounts.querysets import OwnedQuerySet
from apps.jobs.reasons import CUT_OFF


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

    def lock_free(self) -> list[int]:
        """Keys of those that nobody else works on, locked until the transaction ends. It waits for none of them, so
        that many can be locked at once without a deadlock."""
        rows = self.order_by("pk").select_for_update(skip_locked=True, no_key=True)
        return list(rows.values_list("pk", flat=True))

    def for_display(self) -> Self:
        """With everything a row or page names, in a fixed number of queries."""
        after = models.Prefetch("after", self.model._default_manager.defer("spec", "preview", "result"))
        rows = self.select_related("team", "created_by", "pinned_host")
        return rows.prefetch_related("attempts__host", after)

    def for_list(self) -> Self:
        """With what a row of the Jobs page names; what a queued one waits for comes apart."""
        rows = self.select_related("created_by").prefetch_related("attempts__host")
        return rows.defer("spec", "preview", "result")


class AttemptQuerySet(models.QuerySet[Any]):
    def open(self) -> Self:
        return self.filter(ended_at=None)

    def cut_off(self) -> Self:
        """Those that had begun and were ended from outside, so that a rerun may go on from what they saved."""
        return self.filter(reason__in=CUT_OFF).exclude(Q(claimed_at=None) | Q(ended_at=None))


class MetricQuerySet(models.QuerySet[Any]):
    def as_series(self) -> list[dict[str, Any]]:
        """[{name, steps, values}], each series in order of its steps."""
        return _series(self)

    def thinned(self, most: int) -> list[dict[str, Any]]:
        """As series with their `count`, of at most `most` points each: every n-th of a longer one, and its last."""
        counts = {row["name"]: row["count"] for row in self.order_by().values("name").annotate(count=Count("pk"))}
        rows = self
        if any(count > most for count in counts.values()):
            every = [When(name=name, then=Value(-(-count // most))) for name, count in counts.items()]
            stride = Case(*every, output_field=models.IntegerField())
            place = Window(RowNumber(), partition_by="name", order_by=F("step").desc())
            rows = self.annotate(turn=Mod(place, stride, output_field=models.IntegerField()) - Mod(Value(1), stride))
            rows = rows.filter(turn=0)  # the newest has place 1, so it always stays
        return [one | {"count": counts[one["name"]]} for one in _series(rows)]


def _series(rows: MetricQuerySet) -> list[dict[str, Any]]:
    series: dict[str, dict[str, Any]] = {}
    for name, step, value in rows.order_by("name", "step").values_list("name", "step", "value"):
        one = series.setdefault(name, {"name": name, "steps": [], "values": []})
        one["steps"].append(step)
        one["values"].append(value)
    return list(series.values())
