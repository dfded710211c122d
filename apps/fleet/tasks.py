"""Chores of the fleet."""

from __future__ import annotations

from datetime import timedelta

from celery import shared_task
from django.utils import timezone

from apps.fleet.models import TelemetrySample


@shared_task(name="fleet.forget_telemetry")
def forget_telemetry() -> None:
    TelemetrySample.objects.filter(at__lt=timezone.now() - timedelta(days=1)).delete()
