"""Jobs that delete a copy on a host: what they must not touch any more, and who waits for them."""

from __future__ import annotations

from apps.accounts.problems import conflict
from apps.catalog.models import Location
from apps.engines.base import RunSpec
from apps.fleet.models import Host
from apps.jobs.models import Job

ENGINE = "delete"


def open_deletions(host: Host) -> list[Job]:
    """Jobs that still have to delete a model there: what is fetched waits for them, or it would go with them."""
    return list(Job.objects.open().filter(engine=ENGINE, pinned_host=host))


def resolve_deletion(job: Job, host: Host) -> RunSpec:
    """The spec; a deletion whose folder holds a registered copy again deletes nothing."""
    spec = RunSpec.model_validate(job.spec)
    if job.engine == ENGINE and Location.objects.filter(host=host, path=spec.payload["folder"]).exists():
        return spec.model_copy(update={"payload": {"folder": ""}})
    return spec


def check_can_run_again(job: Job) -> None:
    """A deletion that failed is asked for anew: the model may have come back. Raises Problem 409."""
    if job.engine == ENGINE:
        raise conflict(f"{job.public_id} deletes a model. Delete it again from its host's page, if it is still there.")
