"""REST: tours."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from ninja import Router, Schema, Status

from apps.accounts.access import team_for, visible_or_404
from apps.accounts.rest import create_once, page_of, signed_in
from apps.tour.models import TourRun
from apps.tour.plan import plan_tour
from apps.tour.services import start_tour
from apps.tour.tour_page import step_rows

router = Router(tags=["tour"])


class TourStepOut(Schema):
    key: str
    title: str
    status: str  # waiting | running | done | failed
    detail: str
    job: str | None
    progress: float | None
    seconds: float | None


class TourOut(Schema):
    id: str
    status: str  # running | passed | failed
    plan: str
    url: str
    created_at: datetime
    finished_at: datetime | None
    steps: list[TourStepOut]


class TourPage(Schema):
    items: list[TourOut]
    next: str | None


def tour_out(tour: TourRun, plan: str) -> dict[str, Any]:
    """`plan` says what a tour would take now."""
    names = ("key", "title", "status", "detail", "job", "progress", "seconds")
    return {
        "id": tour.public_id,
        "status": tour.status,
        "plan": plan,
        "url": reverse("tour_run", args=[tour.public_id]),
        "created_at": tour.created_at,
        "finished_at": tour.finished_at,
        "steps": [{name: row[name] for name in names} for row in step_rows(tour)],
    }


@router.get("/tours", response=TourPage)
def list_tours(request: HttpRequest, cursor: str | None = None, limit: int = 20) -> dict[str, Any]:
    rows, plan = TourRun.objects.visible_to(signed_in(request)), plan_tour().sentence
    return page_of(rows, cursor=cursor, limit=limit, show=lambda tour: tour_out(tour, plan))


@router.post("/tours", response={201: TourOut})
def create_tour(request: HttpRequest) -> Status[dict[str, Any]]:
    user = signed_in(request)

    def create() -> dict[str, Any]:
        return tour_out(start_tour(team=team_for(user, None), user=user), plan_tour().sentence)

    return Status(*create_once(request, create))


@router.get("/tours/{tour_id}", response=TourOut)
def get_tour(request: HttpRequest, tour_id: str) -> dict[str, Any]:
    tour: TourRun = visible_or_404(TourRun.objects.all(), signed_in(request), tour_id, noun="tour")
    return tour_out(tour, plan_tour().sentence)
