"""The REST API `/api/v1`: one router per app, problem+json errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import DataError
from django.http import Http404, HttpRequest, HttpResponse
from django.http.request import RawPostDataException
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError

from apps.accounts.api import router as accounts
from apps.accounts.hub_tokens_api import router as hub_tokens
from apps.accounts.problems import FieldError, Problem
from apps.arena.api import router as arena
from apps.calibration.api import router as calibration
from apps.catalog.api import router as catalog
from apps.catalog.policies_api import router as policies
from apps.catalog.worker_api import router as catalog_worker
from apps.costs.api import router as costs
from apps.dashboard.fleet_api import router as fleet_state
from apps.dashboard.host_models_api import router as host_models
from apps.dashboard.hosts_api import router as hosts
from apps.dashboard.plan_api import router as planning
from apps.evals.api import router as evals
from apps.finetunes.api import router as finetunes
from apps.fleet.api import router as fleet
from apps.fleet.history_api import router as history
from apps.fleet.worker_api import router as fleet_worker
from apps.gateway.api import router as gateway
from apps.jobs.api import router as jobs
from apps.jobs.outputs_api import router as job_outputs
from apps.jobs.pipelines_api import router as pipelines
from apps.jobs.reconcile_api import router as reconcile
from apps.jobs.schedules_api import router as schedules
from apps.jobs.waiting_api import router as jobs_waiting
from apps.jobs.worker_api import router as jobs_worker
from apps.leaderboard.api import router as leaderboard
from apps.serving.api import router as serving
from apps.tour.api import router as tour
from stackweb.wellformed import MendingParser, StrictParser

api = NinjaAPI(title="Stackweb", version="1", urls_namespace="api", docs_url=None, parser=StrictParser())
for router in (
    catalog,
    policies,
    planning,
    serving,
    finetunes,
    evals,
    leaderboard,
    arena,
    jobs,
    pipelines,
    schedules,
    jobs_waiting,
    job_outputs,
    reconcile,
    costs,
    calibration,
    fleet,
    fleet_state,
    hosts,
    host_models,
    history,
    gateway,
    accounts,
    hub_tokens,
    tour,
):
    api.add_router("", router)

worker_api = NinjaAPI(
    title="Stackweb worker protocol",
    version="worker-1",
    urls_namespace="worker",
    docs_url=None,
    openapi_url=None,
    parser=MendingParser(),
)
worker_api.add_router("", fleet_worker)
worker_api.add_router("", jobs_worker)
worker_api.add_router("", catalog_worker)


def _answer(problem: Problem) -> HttpResponse:
    return HttpResponse(
        json.dumps(problem.as_json(), default=str),
        status=problem.status,
        content_type="application/problem+json",
    )


def _on_problem(request: HttpRequest, problem: Problem) -> HttpResponse:
    return _answer(problem)


def _on_invalid(request: HttpRequest, error: ValidationError) -> HttpResponse:
    """Pydantic's findings as our problem: the field without ninja's `body.payload` in front."""
    return _answer(Problem(422, "Invalid input", "", [_field_error(item) for item in error.errors]))


def _field_error(item: dict[str, Any]) -> FieldError:
    path = [str(part) for part in item["loc"] if part not in ("body", "query", "path", "payload")]
    value = item.get("input")
    shown = value if isinstance(value, str | int | float | bool | None) else None
    return FieldError(".".join(path) or "body", item["msg"], shown)


def _on_unreadable(request: HttpRequest, error: HttpError) -> HttpResponse:
    """Ninja wraps whatever its parser raises; ours says more."""
    wrapped = error.__cause__
    return _answer(wrapped if isinstance(wrapped, Problem) else Problem(error.status_code, "Invalid input", str(error)))


def _on_wrong_type(request: HttpRequest, error: RawPostDataException) -> HttpResponse:
    """A form sent where JSON is read: its body was taken apart as a form before."""
    return _answer(Problem(415, "Wrong content type", f"Send application/json here, not {request.content_type}."))


def _on_missing(request: HttpRequest, error: Http404) -> HttpResponse:
    return _answer(Problem(404, "Not found", str(error)))


def _on_denied(request: HttpRequest, error: PermissionDenied) -> HttpResponse:
    return _answer(Problem(403, "Not allowed", str(error)))


def _on_unstorable(request: HttpRequest, error: DataError | type[DataError]) -> HttpResponse:
    """A host's number or text beyond its column; a person's input is checked field by field before."""
    return _answer(Problem(422, "Invalid input", f"A value does not fit: {str(error).splitlines()[0]}."))


_HANDLERS: dict[type[Exception], Callable[[HttpRequest, Any], HttpResponse]] = {
    Problem: _on_problem,
    ValidationError: _on_invalid,
    HttpError: _on_unreadable,
    RawPostDataException: _on_wrong_type,
    Http404: _on_missing,
    PermissionDenied: _on_denied,
}
for each in (api, worker_api):
    for kind, handler in _HANDLERS.items():
        each.add_exception_handler(kind, handler)
worker_api.add_exception_handler(DataError, _on_unstorable)
