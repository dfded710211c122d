"""Pages of evaluations."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from django.views.decorators.vary import vary_on_headers

from apps.accounts.access import team_for
from apps.accounts.forms import add_problem
from apps.accounts.htmx import htmx_of, part_of
from apps.accounts.problems import Problem
from apps.accounts.rest import signed_in
from apps.evals import services
from apps.evals.forms import EvalRunForm, initial_of
from apps.evals.lookups import visible_run
from apps.evals.plans import ENGINE
from apps.evals.preview import preview_eval_run
from apps.evals.run_list import run_list
from apps.evals.run_page import run_page
from apps.evals.sample_page import one_sample
from apps.jobs.option_form import OptionsForm, option_form
from apps.jobs.services import engine_named
from apps.jobs.terms_form import TermsForm


@require_safe
@vary_on_headers("HX-Request")
def eval_runs(request: HttpRequest) -> HttpResponse:
    query = {name: request.GET.get(name, "") for name in ("show", "suite", "cursor")}
    context = run_list(signed_in(request), **query)
    part = part_of(request, "list")
    return render(request, f"evals/eval_runs.html{part}", context)


@require_safe
@vary_on_headers("HX-Request")
def eval_run(request: HttpRequest, run_id: str) -> HttpResponse:
    query = {name: request.GET.get(name, "") for name in ("against", "task", "show", "cursor")}
    context = run_page(visible_run(request, run_id), signed_in(request), **query)
    is_fragment = bool(htmx_of(request))
    answer = render(request, f"evals/eval_run.html{'#live' if is_fragment else ''}", context)
    if is_fragment and context["job"].is_over:
        answer.status_code, answer["HX-Refresh"] = 286, "true"  # the scores stand outside the live part
    return answer


@require_safe
def eval_sample(request: HttpRequest, run_id: str, sample_id: int) -> HttpResponse:
    run = visible_run(request, run_id)
    sample = run.samples.filter(pk=sample_id).first()
    if sample is None:
        raise Http404(f"{run.public_id} has no sample {sample_id}.")
    query = {name: request.GET.get(name, "") for name in ("against", "task")}
    return render(request, "evals/eval_sample.html", one_sample(run, sample, signed_in(request), **query))


@require_http_methods(["GET", "HEAD", "POST"])
def eval_run_new(request: HttpRequest) -> HttpResponse:
    user = signed_in(request)
    form, options = _forms(request)
    terms = TermsForm(request.POST if request.method == "POST" else None, user=user, kind="evaluate")
    if request.method == "POST" and all([form.is_valid(), options.is_valid(), terms.is_valid()]):
        try:
            run = services.create_eval_run(
                team=team_for(user, None),
                user=user,
                options=options.options,
                terms=terms.terms(),
                **form.cleaned_data,
            )
            return redirect("eval_run", run.public_id)
        except Problem as problem:
            add_problem(form, problem)
    status = 422 if request.method == "POST" else 200
    context = {"form": form, "options": options, "terms": terms} | preview_eval_run(form, options)
    return render(request, "evals/eval_run_new.html", context, status=status)


@require_POST
def eval_run_preview(request: HttpRequest) -> HttpResponse:
    return render(request, "evals/preview.html", preview_eval_run(*_forms(request)))


def _forms(request: HttpRequest) -> tuple[EvalRunForm, OptionsForm]:
    given = request.POST if request.method == "POST" else None
    query: dict[str, Any] = request.GET.dict()
    form = EvalRunForm(given, user=signed_in(request), initial=initial_of(query, signed_in(request)))
    engine = engine_named(ENGINE, kind="evaluate")
    words = {"True": True, "False": False}
    wished = {name: words.get(query[name], query[name]) for name in engine.Options.model_fields if name in query}
    return form, option_form(engine.Options, given, initial=suite_options(form) | wished)


def suite_options(form: EvalRunForm) -> dict[str, Any]:
    """What the suite in view asks of the engine, so that the form starts with it."""
    rows = form.fields["suite"].queryset  # type: ignore[attr-defined]
    suite = rows.filter(pk=form.initial.get("suite")).first() or rows.first()
    return dict(suite.options) if suite else {}
