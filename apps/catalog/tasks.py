"""Chores of the catalogue."""

from __future__ import annotations

from celery import shared_task

from apps.catalog.verdicts import sweep


@shared_task(name="catalog.judge_versions")
def judge_versions() -> None:
    sweep()
