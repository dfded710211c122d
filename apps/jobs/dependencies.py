"""What a job takes from the results of those before it, when its turn has come."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from apps.engines.base import RunSpec
from apps.engines.registry import get_engine
from apps.jobs.lifecycle import switch_status
from apps.jobs.models import Job
from apps.jobs.reasons import Reason
from apps.jobs.references import NoSuchResult, Reference, result_at
from apps.jobs.services import preview_of
from apps.jobs.states import JobStatus, Owner


class CannotTake(Exception):
    """The message is the sentence for the person."""


def take_results(job: Job) -> bool:
    """Fills the job's references into its spec; False when it failed because one has no fitting value.

    Those it takes from have succeeded. Doing it again, after a rerun of one of them, takes the newer value.
    """
    if not job.references:
        return True
    try:
        spec = _filled(job)
    except CannotTake as problem:
        switch_status(
            job,
            JobStatus.FAILED,
            by=Owner.SCHEDULER,
            what="Failed: the result it builds on is not there",
            event={"tone": "bad", "detail": str(problem)},
            reason=Reason.DEPENDENCY_FAILED,
            cause=str(problem),
        )
        return False
    job.spec, job.preview = spec.model_dump(mode="json"), preview_of(spec, job.variant)
    job.save(update_fields=["spec", "preview"])
    return True


def _filled(job: Job) -> RunSpec:
    """Raises CannotTake."""
    spec = RunSpec.model_validate(job.spec)
    values = {
        name.removeprefix("options."): _value(job, reference) for name, reference in sorted(job.references.items())
    }
    try:
        checked = get_engine(job.engine).Options.model_validate(spec.options | values)
    except ValidationError as error:
        first = error.errors()[0]
        option = ".".join(str(part) for part in first["loc"])
        source: Reference | None = job.references.get(f"options.{option}")
        where = f" (from {source['from']}, {source['path']})" if source else ""
        raise CannotTake(f"options.{option}{where} is {values.get(option)!r}: {first['msg']}.") from None
    return spec.model_copy(update={"options": checked.model_dump(mode="json")})


def _value(job: Job, reference: Reference) -> Any:
    other = job.after.with_public_id(reference["from"]).first()
    if other is None:
        raise CannotTake(f"{reference['from']} is not among the jobs it waits for.")
    try:
        return result_at(other.result, reference["path"])
    except NoSuchResult as problem:
        raise CannotTake(f"The result of {other.public_id} ({other.name}) {problem}.") from None
