"""The Models and the Model page: the catalogue joined with what serves, scores and trained a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.template.loader import render_to_string
from django.views.decorators.http import require_safe
from django.views.decorators.vary import vary_on_headers

from apps.accounts.access import visible_or_404
from apps.accounts.htmx import part_of
from apps.accounts.models import User
from apps.accounts.paging import whole_number
from apps.accounts.rest import signed_in
from apps.catalog.fit import DeviceClass
from apps.catalog.model_facts import model_facts
from apps.catalog.model_list import ModelRow, Wish, model_list
from apps.catalog.models import Model, ModelImport, ModelVersion
from apps.dashboard.fit_rows import fit_rows
from apps.evals.comparison import score_interval
from apps.evals.models import EvalRun, Score
from apps.finetunes.models import FineTune
from apps.jobs.job_list import job_row
from apps.jobs.models import Job
from apps.serving.models import Endpoint, Replica

SCORES, JOBS = 12, 8


@require_safe
@vary_on_headers("HX-Request")
def models(request: HttpRequest) -> HttpResponse:
    user = signed_in(request)
    running = Endpoint.objects.visible_to(user).filter(wish=Endpoint.Wish.RUNNING)
    served = set(running.values_list("version__model_id", flat=True))
    context = model_list(user, _wish(request.GET), served=served)
    scores = _score_counts([row.model for row in context["rows"]])
    context["drawn_rows"] = [_drawn(row, context["devices"], scores.get(row.model.pk, 0)) for row in context["rows"]]
    context["query"] = _rest_of_query(request.GET, without=("page",))
    context["query_of_all"] = _rest_of_query(request.GET, without=("page", "show"))
    return render(request, f"catalog/models.html{part_of(request, 'list')}", context)


def _drawn(row: ModelRow, devices: Sequence[DeviceClass], score_count: int) -> str:
    """The row's HTML, which is the same for everybody who sees it."""
    if score_count not in row.drawn:
        shown = {"row": row, "devices": devices, "score_count": score_count}
        row.drawn[score_count] = render_to_string("catalog/model_row.html", shown)
    return row.drawn[score_count]


def _wish(asked: QueryDict) -> Wish:
    return Wish(
        text=asked.get("q", ""),
        sort=asked.get("sort", ""),
        show=asked.get("show", "all"),
        page=whole_number(asked.get("page", "1")) or 1,
        chosen=dict(asked.lists()),
    )


def _rest_of_query(asked: QueryDict, *, without: Sequence[str]) -> str:
    """The address's query for links that change only what is left out."""
    return urlencode([(key, value) for key, values in asked.lists() if key not in without for value in values])


def _score_counts(models: Sequence[Model]) -> dict[int, int]:
    """Model -> how many scores its versions have."""
    scores = Score.objects.filter(version__model__in=models, is_headline=True)
    return dict(scores.values_list("version__model").annotate(count=Count("pk")))


@require_safe
def model(request: HttpRequest, model_id: str) -> HttpResponse:
    user = signed_in(request)
    row: Model = visible_or_404(Model.objects.all(), user, model_id, noun="model")
    context = model_facts(user, row, request.GET.get("version", ""))
    context |= _higher_rooms(user, context["version"])
    if context["version"] is not None:
        context["fit_rows"] = fit_rows(user, context["version"], context["fits"])
    return render(request, "catalog/model.html", context)


def _higher_rooms(user: User, version: ModelVersion | None) -> dict[str, Any]:
    """What serves this version, its newest scores, and the jobs that brought, made or used it."""
    if version is None:
        return {}
    jobs = Job.objects.visible_to(user)
    scores = Score.objects.filter(version=version, is_headline=True).select_related("run")
    runs = EvalRun.objects.filter(version=version).values("job")
    trainings = FineTune.objects.filter(base=version).values("job")
    servers = Replica.objects.filter(endpoint__version=version).values("job")
    imports = ModelImport.objects.filter(version=version).values("job")
    makers = version.parent_edges.exclude(job=None).values("job")
    about = jobs.filter(Q(*(Q(pk__in=each) for each in (runs, trainings, servers, imports, makers)), _connector=Q.OR))
    return {
        "endpoints": Endpoint.objects.visible_to(user).filter(version=version, wish=Endpoint.Wish.RUNNING),
        "scores": [(score, score_interval(score)) for score in scores.order_by("-pk")[:SCORES]],
        "card_scores": list(version.card_scores.all()),
        "jobs": [job_row(job) for job in about.for_display().order_by("-pk")[:JOBS]],
    }
