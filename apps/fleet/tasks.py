"""Chores of the fleet."""

from __future__ import annotations

import time

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from apps.fleet.freeze import review_silence
from apps.fleet.rollups import forget, roll_up

# After a start of the server every host looks silent until it reports; that is nobody's trouble.
_STARTED = time.monotonic()


@shared_task(name="fleet.review_silence")
def review() -> None:
    if time.monotonic() - _STARTED > settings.HOST_SILENT_SECONDS:
        review_silence()


@shared_task(name="fleet.roll_up_telemetry")
def roll_up_telemetry() -> None:
    roll_up(now=timezone.now())


@shared_task(name="fleet.forget_telemetry")
def forget_telemetry() -> None:
    forget(now=timezone.now())
