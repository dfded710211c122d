"""Chores of the control worker."""

from __future__ import annotations

from celery import shared_task

from apps.jobs.blobs import forget_torn_parts
from apps.jobs.reaping import withdraw_unclaimed
from apps.jobs.schedules import run_due_schedules
from apps.jobs.scheduling import place_waiting_jobs
from apps.jobs.watching import watch_running_jobs


@shared_task(name="jobs.place")
def place() -> None:
    place_waiting_jobs()


@shared_task(name="jobs.reap")
def reap() -> None:
    withdraw_unclaimed()
    watch_running_jobs()


@shared_task(name="jobs.run_schedules")
def run_schedules() -> None:
    run_due_schedules()


@shared_task(name="jobs.forget_torn_parts")
def forget_parts() -> None:
    forget_torn_parts()
