"""Chores of the gateway."""

from __future__ import annotations

from celery import shared_task

from apps.gateway import decode_speeds, services


@shared_task(name="gateway.flush_usage")
def flush_usage() -> None:
    services.flush_usage()


@shared_task(name="gateway.note_decode_speeds")
def note_decode_speeds() -> None:
    decode_speeds.note_decode_speeds()
