"""A guided run of the whole loop on the small packaged model."""

from __future__ import annotations

from django.db import models

from apps.accounts.models import TeamOwned, User


class TourRun(TeamOwned):
    id_prefix = "tour"

    status = models.CharField(max_length=10, default="running")  # running | passed | failed
    steps = models.JSONField(default=list)  # [{key, title, status, facts, started_at, finished_at}]
    finished_at = models.DateTimeField(null=True, blank=True)

    @property
    def owner(self) -> User:
        """Who started it; their account acts for it, so a tour without one cannot go on."""
        if self.created_by is None:
            raise LookupError("The person who started this tour is gone.")
        return self.created_by
