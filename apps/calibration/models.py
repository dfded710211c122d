"""The ledger of predicted against measured: every estimate shown for a real run.

The measured side is `Attempt.measurements`: what the engine itself printed, and a server's speed as the
gateway saw it.
"""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from apps.jobs.models import Job


class Estimate(models.Model):
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="estimates")
    quantity = models.CharField(max_length=40)  # weights_bytes, kv_cache_tokens, load_seconds ...
    unit = models.CharField(max_length=20)
    low = models.FloatField()
    value = models.FloatField()
    high = models.FloatField()
    confidence = models.CharField(max_length=6)  # low | medium | high
    formula_version = models.CharField(max_length=40)
    context = models.JSONField(default=dict)  # device type, engine, engine version, model family
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["job", "quantity"], name="one_estimate_per_quantity")]
