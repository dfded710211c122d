"""REST: endpoints."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from ninja import Router, Schema, Status

from apps.accounts.rest import create_once, page_of, signed_in
from apps.calibration.schemas import EstimateOut, estimates_out
from apps.jobs.api import job_out
from apps.jobs.schemas import JobOut
from apps.serving import services
from apps.serving.lookups import visible_endpoint
from apps.serving.models import Endpoint
from apps.serving.states import endpoint_state, newest_job
from apps.serving.submitting import EndpointIn, submit_endpoint

router = Router(tags=["endpoints"])


class EndpointOut(Schema):
    id: str
    name: str
    team: str
    version: str
    model: str
    engine: str
    options: dict[str, Any]
    state: str
    state_sentence: str
    is_ready: bool
    job: JobOut | None
    created_by: str | None
    created_at: datetime
    url: str


class EndpointDetailOut(EndpointOut):
    estimates: list[EstimateOut]  # of the newest replica


class EndpointPage(Schema):
    items: list[EndpointOut]
    next: str | None


def endpoint_out(endpoint: Endpoint) -> dict[str, Any]:
    state = endpoint_state(endpoint)
    return {
        "id": endpoint.public_id,
        "name": endpoint.name,
        "team": endpoint.team.slug,
        "version": endpoint.version.public_id,
        "model": endpoint.version.model.name,
        "engine": endpoint.engine,
        "options": endpoint.options,
        "state": state.word,
        "state_sentence": state.sentence,
        "is_ready": state.is_ready,
        "job": job_out(state.job) if state.job else None,
        "created_by": endpoint.created_by.username if endpoint.created_by else None,
        "created_at": endpoint.created_at,
        "url": reverse("endpoint", args=[endpoint.public_id]),
    }


@router.get("/endpoints", response=EndpointPage)
def list_endpoints(request: HttpRequest, cursor: str | None = None, limit: int = 50) -> dict[str, Any]:
    rows = Endpoint.objects.visible_to(signed_in(request)).with_newest_job()
    return page_of(rows, cursor=cursor, limit=limit, show=endpoint_out)


@router.post("/endpoints", response={201: EndpointOut})
def create_endpoint(request: HttpRequest, payload: EndpointIn) -> Status[dict[str, Any]]:
    """Serves a model version. Repeating it with the same `Idempotency-Key` changes nothing."""

    def create() -> dict[str, Any]:
        return endpoint_out(submit_endpoint(signed_in(request), payload))

    return Status(*create_once(request, create))


@router.get("/endpoints/{endpoint_id}", response=EndpointDetailOut)
def get_endpoint(request: HttpRequest, endpoint_id: str) -> dict[str, Any]:
    endpoint = visible_endpoint(request, endpoint_id)
    job = newest_job(endpoint)
    return endpoint_out(endpoint) | {"estimates": estimates_out(job) if job else []}


@router.post("/endpoints/{endpoint_id}/stop", response=EndpointOut)
def stop_endpoint(request: HttpRequest, endpoint_id: str) -> dict[str, Any]:
    endpoint = services.stop_endpoint(endpoint=visible_endpoint(request, endpoint_id), user=signed_in(request))
    return endpoint_out(endpoint)


@router.post("/endpoints/{endpoint_id}/start", response=EndpointOut)
def start_endpoint(request: HttpRequest, endpoint_id: str) -> dict[str, Any]:
    endpoint = services.start_endpoint(endpoint=visible_endpoint(request, endpoint_id), user=signed_in(request))
    return endpoint_out(endpoint)
