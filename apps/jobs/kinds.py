"""What each kind of job means to the rooms above: one dict, filled by their `AppConfig.ready`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from django.urls import reverse

from apps.engines.base import RunSpec
from apps.fleet.models import Host
from apps.jobs.models import Job


def _job_page(job: Job) -> str:
    return reverse("job", args=[job.public_id])


def _nothing(job: Job) -> None:
    return None


def _no_jobs(job: Job, host: Host) -> Sequence[Job]:
    return []


def _no_hosts(job: Job) -> Sequence[str]:
    return []


def _stored_spec(job: Job, host: Host) -> RunSpec:
    return RunSpec.model_validate(job.spec)


@dataclass(frozen=True)
class KindHandler:
    """`on_finished` runs in the finishing transaction and is idempotent. `on_retried` runs before a job is
    queued again, and raises Problem where it must not be. `prepare` returns the unfinished
    jobs that must first succeed on that host, and raises CannotPrepare where nothing can bring it there.
    `resolve` returns the spec with that host's paths, at claim."""

    detail_url: Callable[[Job], str] = _job_page
    on_finished: Callable[[Job], None] = _nothing
    on_retried: Callable[[Job], None] = _nothing
    prepare: Callable[[Job, Host], Sequence[Job]] = _no_jobs
    preferred_hosts: Callable[[Job], Sequence[str]] = _no_hosts
    resolve: Callable[[Job, Host], RunSpec] = _stored_spec


class CannotPrepare(Exception):
    """This host can never get what the job needs; the message says why."""


_HANDLERS: dict[str, KindHandler] = {}


def register_kind(kind: str, handler: KindHandler) -> None:
    _HANDLERS[kind] = handler


def handler_of(job: Job) -> KindHandler:
    return _HANDLERS.get(job.kind, KindHandler())
