"""The model version that a request is about: one that is there, or one that a job is to make."""

from __future__ import annotations

from dataclasses import replace

from ninja import Schema

from apps.accounts.access import require_role
from apps.accounts.models import Role, User
from apps.accounts.problems import FieldError, Problem
from apps.catalog.lookups import version_named
from apps.catalog.models import ModelVersion
from apps.catalog.placement import promise_of
from apps.jobs.kinds import handler_of
from apps.jobs.terms import Terms, awaited_job, check_can_be_awaited


class FromJob(Schema, extra="forbid"):
    """The model version that this job makes; what is asked for waits until the job succeeded."""

    from_job: str


def asked_version(user: User, asked: str | FromJob, terms: Terms) -> tuple[ModelVersion, Terms]:
    """The version, and the terms that also wait for the job that makes it.

    Raises Problem 422 for an unknown version or job, and for a job that makes none or has failed.
    """
    public_id = asked if isinstance(asked, str) else _promised(user, asked.from_job)
    version = version_named(user, public_id)
    promise = promise_of(version)
    if promise is None or promise.job is None:
        return version, terms
    check_can_be_awaited("version", promise.job)
    return version, replace(terms, after=[*terms.after, promise.job])


def _promised(user: User, job_id: str) -> str:
    job = awaited_job(user, "version.from_job", job_id)
    require_role(user, Role.MEMBER, job.team)
    try:
        return handler_of(job).promise_version(job)
    except Problem as problem:
        errors = [FieldError("version.from_job", each.message, each.value) for each in problem.errors]
        raise Problem(problem.status, problem.title, problem.detail, errors) from None
