"""REST: the fleet as a whole, what is wrong with it and what waits for it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema

from apps.dashboard.queue_pressure import waiting_by_need
from apps.fleet.querysets import open_alerts

router = Router(tags=["hosts"])


class AlertOut(Schema):
    kind: str  # silent_hosts: scheduling is frozen | restored: a backup was restored
    text: str
    opened_at: datetime


class WaitingOut(Schema):
    need: str  # "2 GPUs", "memory", "a host", "another job"
    count: int
    oldest_at: datetime
    expected_at: datetime | None  # of the first of them; null: nobody can say


class FleetOut(Schema):
    alerts: list[AlertOut]
    waiting: list[WaitingOut]  # the most wanted first, of all teams


@router.get("/fleet", response=FleetOut)
def get_fleet(request: HttpRequest) -> dict[str, Any]:
    return {"alerts": open_alerts(), "waiting": waiting_by_need()}
