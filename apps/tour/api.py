"""REST: tours."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from ninja import Router, Schema, Status

from apps.accounts.access import team_for
from apps.accounts.problems import not_found
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


def tour_out(tour: TourRun) -> dict[str, Any]:
    names = ("key", "title", "status", "detail", "job", "progress", "seconds")
    return {
        "id": tour.public_id,
        "status": tour.status,
        "plan": plan_tour().sentence,
        "url": reverse("tour_run", args=[tour.public_id]),
        "created_at": tour.created_at,
        "finished_at": tour.finished_at,
        "steps": [{name: row[name] for name in names} for row in step_rows(tour)],
    }


@router.get("/tours", response=TourPage)
def list_tours(request: HttpRequest, cursor: str | None = None, limit: int = 20) -> dict[str, Any]:
    return page_of(TourRun.objects.visible_to(signed_in(request)), cursor=cursor, limit=limit, show=tour_out)


@router.post("/tours", response={201: TourOut})
def create_tour(request: HttpRequest) -> Status[dict[str, Any]]:
    user = signed_in(request)
    return Status(*create_once(request, lambda: tour_out(start_tour(team=team_for(user, None), user=user))))


@router.get("/tours/{tour_id}", response=TourOut)
def get_tour(request: HttpRequest, tour_id: str) -> dict[str, Any]:
    tour = TourRun.objects.visible_to(signed_in(request)).with_public_id(tour_id).first()
    if tour is None:
        raise not_found("tour", tour_id)
    return tour_out(tour)
