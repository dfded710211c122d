"""Virtual keys and what was used with them."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from apps.accounts.models import TeamOwned


class VirtualKey(TeamOwned):
    """A key to /v1 that reaches the team's routes. Only its hash is stored; it is shown once."""

    id_prefix = "key"

    name = models.CharField(max_length=80)
    hint = models.CharField(max_length=16)
    digest = models.CharField(max_length=64, unique=True)
    requests_per_minute = models.PositiveIntegerField(null=True, blank=True)  # None: no limit
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)


class UsageRecord(models.Model):
    """One request through the gateway, written from the metering spool by request UUID."""

    uuid = models.UUIDField(primary_key=True)
    key = models.ForeignKey(VirtualKey, on_delete=models.SET_NULL, null=True, related_name="usage")
    team_id = models.BigIntegerField(db_index=True)
    route = models.CharField(max_length=120)
    endpoint_id = models.BigIntegerField(null=True, db_index=True)
    status = models.PositiveSmallIntegerField()
    is_stream = models.BooleanField(default=False)
    prompt_tokens = models.PositiveIntegerField(default=0)
    completion_tokens = models.PositiveIntegerField(default=0)
    is_exact = models.BooleanField(default=True)  # False: the engine never told, so tokens are estimated
    ttft_ms = models.FloatField(null=True)
    duration_ms = models.FloatField()
    at = models.DateTimeField(default=timezone.now, db_index=True)
