"""An eval run as REST and pipelines ask for it."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from apps.accounts.access import team_for
from apps.accounts.models import User
from apps.catalog.asked_versions import asked_version
from apps.evals.lookups import suite_named
from apps.evals.models import EvalRun
from apps.evals.schemas import EvalRunIn
from apps.evals.services import create_eval_run
from apps.jobs.models import Job
from apps.jobs.terms import asked_terms


@transaction.atomic
def submit_eval_run(user: User, asked: EvalRunIn) -> EvalRun:
    """Raises Problem as `create_eval_run` does, and 422 for a wrong id."""
    options, terms = asked_terms(user, asked, asked.options)
    version, terms = asked_version(user, asked.version, terms)
    return create_eval_run(
        team=team_for(user, asked.team),
        user=user,
        version=version,
        suite=suite_named(asked.suite),
        options=options,
        tasks=asked.tasks,
        limit=asked.limit,
        num_fewshot=asked.num_fewshot,
        engine=asked.engine,
        terms=terms,
    )


def submit_step(user: User, body: dict[str, Any]) -> Job:
    """A step of a pipeline."""
    job: Job = submit_eval_run(user, EvalRunIn.model_validate(body)).job
    return job
