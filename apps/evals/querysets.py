"""Reads of eval runs."""

from __future__ import annotations

from typing import Self

from django.db.models import Prefetch

from apps.accounts.querysets import OwnedQuerySet
from apps.engines.registry import FAKES


class EvalRunQuerySet(OwnedQuerySet):
    def done(self) -> Self:
        """Runs whose scores are registered. A fake engine measures nothing, so its runs never count."""
        return self.filter(job__status="succeeded").exclude(engine__in=FAKES)

    def with_scores(self) -> Self:
        """With version, suite, job and the scores of the suite's chosen metrics, in a fixed number of queries."""
        scores = self.model._meta.get_field("scores").related_model._default_manager
        headline = scores.filter(is_headline=True).order_by("task")
        related = self.select_related("version__model", "suite", "team", "created_by", "job__team", "job__created_by")
        return related.prefetch_related(
            "job__attempts__host", "job__after", Prefetch("scores", headline, to_attr="headline_scores")
        )
