"""What each kind of job means to the rooms above: one dict, filled by their `AppConfig.ready`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.urls import reverse

from apps.accounts.models import User
from apps.accounts.problems import invalid
from apps.engines.base import RunSpec
from apps.fleet.models import Host
from apps.jobs.models import Job, Schedule


def _job_page(job: Job) -> str:
    return reverse("job", args=[job.public_id])


def _nothing(job: Job) -> None:
    return None


def _no_jobs(job: Job, host: Host) -> Sequence[Job]:
    return []


def _no_hosts(job: Job) -> Sequence[str]:
    return []


def _no_plans(job: Job) -> Iterable[CheaperPlan]:
    return []


def _stored_spec(job: Job, host: Host) -> RunSpec:
    return RunSpec.model_validate(job.spec)


def _no_secrets(job: Job) -> dict[str, str]:
    return {}


def _cannot_submit(user: User, body: dict[str, Any]) -> Job:
    raise invalid("kind", "This kind of job starts by itself, as part of another.")


def _makes_no_version(job: Job) -> str:
    message = f"{job.public_id} makes no model version; name a fine-tune's job."
    raise invalid("from_job", message, value=job.public_id)


@dataclass(frozen=True)
class CheaperPlan:
    """Another way to do what a job asks for. `words` say what is different: "at int4-awq (mv-7) with 1 GPU"."""

    words: str
    gpus: int
    vram_bytes: int  # on each GPU
    ram_bytes: int


@dataclass(frozen=True)
class KindHandler:
    """`on_finished` runs in the finishing transaction and is idempotent; where it `writes_catalogue`, the team is
    locked before the job that ends. `on_retried` runs before a job is queued again, and raises Problem where it
    must not be. `prepare` returns the unfinished
    jobs that must first succeed on that host, and raises CannotPrepare where nothing can bring it there.
    `resolve` returns the spec with that host's paths, at claim, and `secrets` environment variables that
    only that host may see. `submit` starts one from the body that its
    REST create takes, as a step of a pipeline. `promise_version` returns the id of the model version that the
    job makes, which may be before it is made. `cheaper_plans` are tried, in their order, for a job without room.
    `repeat` asks for the same again; without it the same spec is submitted again, unless `repeats` is false.
    `submit`, `promise_version` and `repeat` raise Problem."""

    detail_url: Callable[[Job], str] = _job_page
    on_finished: Callable[[Job], None] = _nothing
    writes_catalogue: bool = False
    on_retried: Callable[[Job], None] = _nothing
    prepare: Callable[[Job, Host], Sequence[Job]] = _no_jobs
    preferred_hosts: Callable[[Job], Sequence[str]] = _no_hosts
    cheaper_plans: Callable[[Job], Iterable[CheaperPlan]] = _no_plans
    resolve: Callable[[Job, Host], RunSpec] = _stored_spec
    secrets: Callable[[Job], dict[str, str]] = _no_secrets
    submit: Callable[[User, dict[str, Any]], Job] = _cannot_submit
    promise_version: Callable[[Job], str] = _makes_no_version
    repeat: Callable[[Job, User, Schedule], Job] | None = None
    repeats: bool = True


class CannotPrepare(Exception):
    """This host can never get what the job needs; the message says why."""


_HANDLERS: dict[str, KindHandler] = {}


def register_kind(kind: str, handler: KindHandler) -> None:
    _HANDLERS[kind] = handler


def handler_of(job: Job) -> KindHandler:
    return handler_of_kind(job.kind)


def handler_of_kind(kind: str) -> KindHandler:
    return _HANDLERS.get(kind, KindHandler())


def has_cheaper_plans(kind: str) -> bool:
    return handler_of_kind(kind).cheaper_plans is not _no_plans


def submittable_kinds() -> list[str]:
    """Those that may be a step of a pipeline."""
    return sorted(kind for kind, handler in _HANDLERS.items() if handler.submit is not _cannot_submit)
