"""A guided run of the whole loop on the small packaged model."""

from __future__ import annotations

from django.db import models

from apps.accounts.models import TeamOwned


class TourRun(TeamOwned):
    id_prefix = "tour"

    status = models.CharField(max_length=10, default="running")  # running | passed | failed | cancelled
    steps = models.JSONField(default=list)  # [{key, title, status, job, detail, started_at, finished_at, facts}]
    finished_at = models.DateTimeField(null=True, blank=True)
