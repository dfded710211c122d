"""Create, stop and start endpoints."""

from __future__ import annotations

from typing import Any, Protocol

from django.db import transaction

from apps.accounts.access import require_role
from apps.accounts.audit import audit
from apps.accounts.models import Role, Team, User
from apps.accounts.names import LABEL, label_from
from apps.accounts.problems import conflict, invalid
from apps.accounts.services import lock_team
from apps.calibration.services import record_estimates
from apps.catalog.models import ModelVersion
from apps.catalog.policies import require_allowed
from apps.fleet.local_host import local_host
from apps.jobs.models import Job
from apps.jobs.services import cancel_job, submit_job
from apps.jobs.terms import USUAL, Terms, same_terms
from apps.serving.estimates import new_estimates
from apps.serving.models import Endpoint, Replica, Route, RouteTarget
from apps.serving.plans import Plan, plan_serving
from apps.serving.states import endpoint_state, newest_job


class EndpointAction(Protocol):
    """What a button on an endpoint does."""

    def __call__(self, *, endpoint: Endpoint, user: User) -> Endpoint: ...


def name_for(version: ModelVersion) -> str:
    """A valid name from the model's: `SmolLM2.135M` becomes `smollm2-135m`."""
    return label_from(version.model.name, longest=50) or "model"


def check_name(team: Team, name: str) -> str:
    """Raises Problem 422 for a name that is not lower-case words with hyphens, or is taken in the team."""
    if not LABEL.fullmatch(name):
        raise invalid("name", "Use a to z, 0 to 9 and hyphens, at most 63, such as “chat-prod”.", value=name)
    if Endpoint.objects.filter(team=team, name=name).exists():
        raise invalid("name", f"An endpoint named “{name}” exists. Choose another name, or start that one.", value=name)
    return name


@transaction.atomic
def create_endpoint(
    *,
    team: Team,
    user: User,
    version: ModelVersion,
    name: str = "",
    engine: str = "vllm",
    options: dict[str, Any] | None = None,
    terms: Terms = USUAL,
) -> Endpoint:
    """A stable name for a model version, with a route of that name and its first replica.

    Raises Problem 403 for what a team rule forbids, 422 for a wrong name, engine or option.
    """
    require_role(user, Role.MEMBER, team)
    require_allowed(version, team)
    lock_team(team)
    name = check_name(team, name or name_for(version))
    plan = plan_serving(version=version, engine=engine, options=options or {}, name=name)
    endpoint = Endpoint.objects.create(
        team=team, created_by=user, name=name, version=version, engine=engine, options=options or {}
    )
    route, _ = Route.objects.get_or_create(team=team, name=name)
    RouteTarget.objects.create(route=route, endpoint=endpoint)
    _start_replica(endpoint, plan, user, terms)
    audit(user, "endpoint.created", object_id=endpoint.public_id, object_name=name, team=team)
    return endpoint


def _start_replica(endpoint: Endpoint, plan: Plan, user: User, terms: Terms) -> Replica:
    job = submit_job(
        team=endpoint.team,
        user=user,
        kind="serve",
        name=f"Serve {endpoint.version.model.name} as {endpoint.name}",
        spec=plan.spec,
        variant=plan.variant,
        gpus=plan.gpus,
        vram_bytes=plan.vram_bytes,
        gpu_share=plan.gpu_share,
        ram_bytes=plan.ram_bytes,
        pinned_host=local_host(),  # the gateway reaches engines on its own machine only
        terms=terms,
    )
    record_estimates(job=job, estimates=new_estimates(plan, endpoint.version))
    return Replica.objects.create(endpoint=endpoint, job=job)


@transaction.atomic
def stop_endpoint(*, endpoint: Endpoint, user: User) -> Endpoint:
    """Takes the endpoint off the gateway at once and stops its replica. Raises Problem 409 when it is stopped."""
    endpoint = _settled(endpoint, user)
    job = newest_job(endpoint)
    if job is None or job.is_over:
        raise conflict(f"{endpoint.name} is not running; there is nothing to stop.")
    cancel_job(job=job, user=user)
    endpoint.wish = Endpoint.Wish.STOPPED
    endpoint.save(update_fields=["wish"])
    audit(user, "endpoint.stopped", object_id=endpoint.public_id, object_name=endpoint.name, team=endpoint.team)
    return endpoint


@transaction.atomic
def start_endpoint(*, endpoint: Endpoint, user: User) -> Endpoint:
    """Starts a new replica of a stopped or failed endpoint. Raises Problem 409 while one still lives."""
    endpoint = _settled(endpoint, user)
    state = endpoint_state(endpoint)
    if state.word == "Held" and state.job is not None:
        cancel_job(job=state.job, user=user)
    elif not state.is_ended:
        raise conflict(f"{state.sentence} Stop it before you start it again.")
    require_allowed(endpoint.version, endpoint.team)
    last = newest_job(endpoint)
    options = _options_now(endpoint)
    plan = plan_serving(version=endpoint.version, engine=endpoint.engine, options=options, name=endpoint.name)
    _start_replica(endpoint, plan, user, same_terms(last, None) if last else USUAL)
    endpoint.wish = Endpoint.Wish.RUNNING
    endpoint.save(update_fields=["wish"])
    audit(user, "endpoint.started", object_id=endpoint.public_id, object_name=endpoint.name, team=endpoint.team)
    return endpoint


def _options_now(endpoint: Endpoint) -> dict[str, Any]:
    """As they were asked for; where a job of it took some from other jobs, as that job has them."""
    took = Job.objects.filter(replica__endpoint=endpoint).exclude(references={}).order_by("-pk").first()
    options: dict[str, Any] = took.spec["options"] if took is not None else endpoint.options
    return options


def _settled(endpoint: Endpoint, user: User) -> Endpoint:
    """As it is now, while nobody else starts or stops one in the team.

    Its jobs are locked and its own row is not yet: a replica's end locks its job first and the
    endpoint after it, and so must whoever starts or stops one.
    """
    require_role(user, Role.MEMBER, endpoint.team)
    lock_team(endpoint.team)
    list(Job.objects.select_for_update(of=("self",), no_key=True).filter(replica__endpoint=endpoint).order_by("pk"))
    settled: Endpoint = Endpoint.objects.select_related("version__model", "team").get(pk=endpoint.pk)
    return settled
