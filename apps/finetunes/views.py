"""Pages of data sets and fine-tunes."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST
from django.views.decorators.vary import vary_on_headers

from apps.accounts.access import team_for, visible_or_404
from apps.accounts.forms import add_problem
from apps.accounts.htmx import htmx_of, part_of, status_of
from apps.accounts.problems import Problem
from apps.accounts.rest import signed_in
from apps.catalog.models import ModelVersion
from apps.finetunes import fine_tune_list, services
from apps.finetunes.forms import DatasetForm, FineTuneForm
from apps.finetunes.models import Dataset, FineTune
from apps.finetunes.preview import preview_fine_tune
from apps.jobs.option_form import option_form
from apps.jobs.services import engine_named
from apps.jobs.terms_form import TermsForm


@vary_on_headers("HX-Request")
def fine_tunes(request: HttpRequest) -> HttpResponse:
    rows = fine_tune_list.fine_tune_rows(signed_in(request))
    part = part_of(request, "list")
    context = {"rows": rows, "headline": fine_tune_list.headline(rows), "lede": fine_tune_list.lede(rows)}
    return render(request, f"finetunes/fine_tunes.html{part}", context)


@vary_on_headers("HX-Request")
def fine_tune(request: HttpRequest, fine_tune_id: str) -> HttpResponse:
    rows = FineTune.objects.select_related("base__model", "dataset", "output__model")
    row: FineTune = visible_or_404(rows, signed_in(request), fine_tune_id, noun="fine-tune")
    context = fine_tune_list.fine_tune_page(row)
    part = part_of(request, "live")
    status = status_of(request, is_over=context["job"].is_over)
    answer = render(request, f"finetunes/fine_tune.html{part}", context, status=status)
    charted = str(context["charted"].epoch) if context["charted"] else "0"
    if htmx_of(request) and request.GET.get("seen", charted) != charted:
        answer["HX-Refresh"] = "true"  # the curves stand outside the live part, and are another attempt's now
    return answer


@require_http_methods(["GET", "HEAD", "POST"])
def fine_tune_new(request: HttpRequest) -> HttpResponse:
    user = signed_in(request)
    chosen = request.POST if request.method == "POST" else None
    asked = ModelVersion.objects.visible_to(user).with_public_id(request.GET.get("version", "")).first()
    initial = {"base": asked.pk if asked else None, "dataset": request.GET.get("dataset")}
    form = FineTuneForm(chosen, user=user, initial=initial)
    options = option_form(engine_named(services.ENGINE, kind="train").Options, chosen)
    terms = TermsForm(chosen, user=user, kind="train")
    if request.method == "POST" and all([form.is_valid(), options.is_valid(), terms.is_valid()]):
        try:
            made = services.create_fine_tune(
                team=form.cleaned_data["base"].team,
                user=user,
                options=options.options,
                terms=terms.terms(),
                **form.cleaned_data,
            )
            return redirect("fine_tune", made.public_id)
        except Problem as problem:
            add_problem(form, problem)
    status = 422 if request.method == "POST" else 200
    context = {"form": form, "options": options, "terms": terms} | preview_fine_tune(form, options)
    return render(request, "finetunes/fine_tune_new.html", context, status=status)


@require_POST
def fine_tune_preview(request: HttpRequest) -> HttpResponse:
    form = FineTuneForm(request.POST, user=signed_in(request))
    options = option_form(engine_named(services.ENGINE, kind="train").Options, request.POST)
    return render(request, "finetunes/preview.html", preview_fine_tune(form, options))


def datasets(request: HttpRequest) -> HttpResponse:
    rows = Dataset.objects.visible_to(signed_in(request)).select_related("created_by").order_by("-pk")[:100]
    return render(request, "finetunes/datasets.html", {"rows": rows})


def dataset(request: HttpRequest, dataset_id: str) -> HttpResponse:
    row: Dataset = visible_or_404(Dataset.objects.all(), signed_in(request), dataset_id, noun="data set")
    fine_tunes = row.fine_tunes.select_related("base__model", "job").order_by("-pk")[:20]
    return render(request, "finetunes/dataset.html", {"dataset": row, "fine_tunes": fine_tunes})


@require_http_methods(["GET", "HEAD", "POST"])
def dataset_new(request: HttpRequest) -> HttpResponse:
    user = signed_in(request)
    form = DatasetForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        try:
            made = services.create_dataset(
                team=team_for(user, None),
                user=user,
                name=form.cleaned_data["name"],
                data=form.data_bytes(),
                description=form.cleaned_data["description"],
            )
            messages.success(request, f"{made.row_count} rows are ready to train on.")
            return redirect("dataset", made.public_id)
        except Problem as problem:
            add_problem(form, problem)
    return render(request, "finetunes/dataset_new.html", {"form": form}, status=422 if form.errors else 200)
