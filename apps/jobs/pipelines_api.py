"""REST: pipelines."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema, Status

from apps.accounts.rest import create_once, signed_in
from apps.jobs.api import job_out
from apps.jobs.pipelines import PipelineIn, submit_pipeline
from apps.jobs.schemas import JobOut

router = Router(tags=["jobs"])


class StepOut(Schema):
    name: str
    job: JobOut


class PipelineOut(Schema):
    steps: list[StepOut]


@router.post("/pipelines", response={201: PipelineOut})
def create_pipeline(request: HttpRequest, payload: PipelineIn) -> Status[dict[str, Any]]:
    """All steps or none. A step whose predecessor fails or is cancelled fails with it."""

    def create() -> dict[str, Any]:
        steps = submit_pipeline(signed_in(request), payload)
        return {"steps": [{"name": name, "job": job_out(job)} for name, job in steps]}

    return Status(*create_once(request, create))
