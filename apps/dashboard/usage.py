"""Figures of the gateway's metering for the teams that a person sees."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import Count, QuerySet, Sum
from django.utils import timezone

from apps.accounts.models import User
from apps.gateway.models import UsageRecord
from apps.gateway.usage import Percentile


def visible_usage(user: User) -> QuerySet[UsageRecord]:
    if user.is_superuser:
        return UsageRecord.objects.all()
    return UsageRecord.objects.filter(team_id__in=user.memberships.values("team_id"))


def has_answered(user: User) -> bool:
    """True once any endpoint of the person's teams answered a request."""
    return visible_usage(user).filter(status=200).exists()


def usage_figures(user: User) -> dict[str, Any]:
    """Requests and output tokens since midnight, output rate of 5 minutes, TTFT of an hour."""
    now = timezone.localtime()
    answered = visible_usage(user).filter(status=200)
    today = answered.filter(at__gte=now.replace(hour=0, minute=0, second=0, microsecond=0))
    recent = answered.filter(at__gte=now - timedelta(minutes=5))
    hour = answered.filter(at__gte=now - timedelta(hours=1), ttft_ms__isnull=False)
    sums = today.aggregate(requests=Count("pk"), tokens=Sum("completion_tokens"))
    rate = recent.aggregate(tokens=Sum("completion_tokens"))["tokens"] or 0
    return {
        "request_count": sums["requests"],
        "output_tokens": sums["tokens"] or 0,
        "tokens_per_second": rate / 300,
        "ttft_p95_ms": hour.aggregate(value=Percentile("ttft_ms", fraction=0.95))["value"],
    }
