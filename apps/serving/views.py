"""Deploy form, its live preview, stop and start. The list and the endpoint's page are the gateway's."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from apps.accounts.actions import act
from apps.accounts.forms import add_problem
from apps.accounts.problems import Problem
from apps.accounts.rest import signed_in
from apps.engines.registry import get_engine
from apps.jobs.option_form import OptionsForm, option_form
from apps.jobs.terms import Terms
from apps.jobs.terms_form import TermsForm
from apps.serving import services
from apps.serving.forms import EndpointForm
from apps.serving.lookups import visible_endpoint
from apps.serving.models import Endpoint
from apps.serving.preview import preview_endpoint


def _forms(request: HttpRequest) -> tuple[EndpointForm, OptionsForm]:
    """The forms as sent, or fresh ones with what the address names, such as ?version=mv-3&quantization=fp8."""
    sent = request.POST if request.method == "POST" else None
    initial = request.GET.dict() | {"version": request.GET.get("version", "").removeprefix("mv-")}
    form = EndpointForm(sent, user=signed_in(request), initial=initial)
    # Another engine has other options: its own begin at their defaults.
    same = sent is not None and sent.get("shown_engine", form.engine_name()) == form.engine_name()
    options = get_engine(form.engine_name()).Options
    linked = {name: value for name, value in request.GET.items() if name in options.model_fields}
    return form, option_form(options, sent if same else None, initial=linked)


@require_http_methods(["GET", "HEAD", "POST"])
def endpoint_new(request: HttpRequest) -> HttpResponse:
    form, options = _forms(request)
    sent = request.POST if request.method == "POST" else None
    terms = TermsForm(sent, user=signed_in(request), kind="serve")
    if request.method == "POST" and all([form.is_valid(), options.is_valid(), terms.is_valid()]):
        try:
            return redirect("endpoint", _create(request, form, options, terms.terms()).public_id)
        except Problem as problem:
            add_problem(form, problem)
    status = 422 if request.method == "POST" else 200
    context = {"form": form, "options": options, "terms": terms} | preview_endpoint(form, options)
    return render(request, "serving/endpoint_new.html", context, status=status)


def _create(request: HttpRequest, form: EndpointForm, options: OptionsForm, terms: Terms) -> Endpoint:
    version = form.cleaned_data["version"]
    return services.create_endpoint(
        team=version.team,
        user=signed_in(request),
        version=version,
        name=form.cleaned_data["name"],
        engine=form.cleaned_data["engine"],
        options=options.options,
        terms=terms,
    )


@require_POST
def endpoint_preview(request: HttpRequest) -> HttpResponse:
    form, options = _forms(request)
    context: dict[str, Any] = {"form": form, "options": options} | preview_endpoint(form, options)
    context["is_other_engine"] = not options.is_bound
    return render(request, "serving/preview_answer.html", context)


@require_POST
def endpoint_stop(request: HttpRequest, endpoint_id: str) -> HttpResponse:
    return _act(request, endpoint_id, services.stop_endpoint, "{} is stopping. Callers are told so.")


@require_POST
def endpoint_start(request: HttpRequest, endpoint_id: str) -> HttpResponse:
    return _act(request, endpoint_id, services.start_endpoint, "{} is starting.")


def _act(request: HttpRequest, endpoint_id: str, service: services.EndpointAction, done: str) -> HttpResponse:
    endpoint = visible_endpoint(request, endpoint_id)
    user = signed_in(request)
    act(request, lambda: service(endpoint=endpoint, user=user), done.format(endpoint.name))
    return redirect("endpoint", endpoint.public_id)
