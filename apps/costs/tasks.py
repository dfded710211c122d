"""The chore of costs."""

from __future__ import annotations

from celery import shared_task
from django.utils import timezone

from apps.costs.accrual import accrue_costs


@shared_task(name="costs.accrue")
def accrue() -> None:
    accrue_costs(now=timezone.now())
