"""An endpoint as REST and pipelines ask for it."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from pydantic import Field

from apps.accounts.access import team_for
from apps.accounts.models import User
from apps.accounts.problems import conflict
from apps.catalog.asked_versions import FromJob, asked_version
from apps.jobs.models import Job
from apps.jobs.schemas import TermsIn
from apps.jobs.terms import asked_terms
from apps.serving.models import Endpoint
from apps.serving.services import create_endpoint
from apps.serving.states import newest_job


class EndpointIn(TermsIn):
    version: str | FromJob = Field(
        description="The model version to serve, such as mv-3, or from_job: the one that a fine-tune's job makes"
    )
    name: str = Field("", description="a to z, 0 to 9 and hyphens; from the model's name when empty")
    engine: str = "vllm"
    options: dict[str, Any] = Field(default_factory=dict, description="The engine's options; defaults fill the rest")
    team: str | None = Field(None, description="Slug of your team; your first one when empty")


@transaction.atomic
def submit_endpoint(user: User, asked: EndpointIn) -> Endpoint:
    """Raises Problem as `create_endpoint` does, and 422 for a wrong id."""
    options, terms = asked_terms(user, asked, asked.options)
    version, terms = asked_version(user, asked.version, terms)
    return create_endpoint(
        team=team_for(user, asked.team),
        user=user,
        version=version,
        name=asked.name,
        engine=asked.engine,
        options=options,
        terms=terms,
    )


def submit_step(user: User, body: dict[str, Any]) -> Job:
    """A step of a pipeline: the endpoint's first replica."""
    endpoint = submit_endpoint(user, EndpointIn.model_validate(body))
    job = newest_job(endpoint)
    if job is None:
        raise conflict(f"{endpoint.name} has no replica.")
    return job
