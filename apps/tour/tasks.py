"""The chore that moves tours on."""

from __future__ import annotations

from celery import shared_task

from apps.tour.services import advance_tours


@shared_task(name="tour.advance")
def advance() -> None:
    advance_tours()
