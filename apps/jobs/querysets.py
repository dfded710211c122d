"""Reads of jobs and attempts."""

from __future__ import annotations

from typing import Any, Self

from django.db import models

from apps.accounts.querysets import OwnedQuerySet


class JobQuerySet(OwnedQuerySet):
    def open(self) -> Self:
        return self.filter(finished_at=None)

    def waiting(self) -> Self:
        """Queued jobs in the order in which they should run."""
        return self.filter(status="queued").order_by("-priority", "pk")

    def page_after(self, cursor: str | None, *, limit: int) -> list[Any]:
        """Up to `limit` + 1 rows, newest first, after the row whose pk is the cursor (keyset paging)."""
        rows = self.order_by("-pk")
        if cursor and cursor.isascii() and cursor.isdigit():
            rows = rows.filter(pk__lt=int(cursor))
        return list(rows[: limit + 1])


class AttemptQuerySet(models.QuerySet[Any]):
    def open(self) -> Self:
        return self.filter(ended_at=None)
