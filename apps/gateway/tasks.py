"""Chores of the gateway."""

from __future__ import annotations

from celery import shared_task

from apps.gateway import services


@shared_task(name="gateway.flush_usage")
def flush_usage() -> None:
    services.flush_usage()
