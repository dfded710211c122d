"""The Add model page, and bringing a version to hosts. Models and Model join higher rooms: dashboard/model_page.py."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from apps.accounts.access import team_for
from apps.accounts.forms import add_problem
from apps.accounts.htmx import part_of
from apps.accounts.hub_tokens import credentials_for
from apps.accounts.problems import Problem
from apps.accounts.rest import signed_in
from apps.catalog.choices import Offer, offer_of
from apps.catalog.copies import bring_copies
from apps.catalog.forms import FORMS, ImportForm
from apps.catalog.hub_access import endpoint
from apps.catalog.hub_finds import finds_of, look_at
from apps.catalog.lookups import host_named
from apps.catalog.models import ModelImport, ModelVersion
from apps.catalog.packages import PACKAGED_MODELS
from apps.catalog.services import import_model
from apps.engines.sources import ollama_registry
from apps.fleet.models import Host


@require_http_methods(["GET", "POST"])
def model_import(request: HttpRequest) -> HttpResponse:
    posted = _posted_form(request)
    if posted is not None and posted.is_valid() and (row := _import(request, posted)) is not None:
        messages.success(request, f"Importing {row.name}. It appears under Models when every file is whole.")
        return redirect("job", row.job.public_id)
    forms = {source: form(auto_id=f"{source}-%s") for source, form in FORMS.items()}
    if posted is not None:
        forms[posted.source.value] = posted
    context: dict[str, Any] = {
        "forms": forms,
        "offer": _offer(request, posted) if posted is not None and posted.has_error("variant") else None,
        "packages": list(PACKAGED_MODELS.values()),
        "hosts": Host.objects.order_by("name"),
        "hub": endpoint(),
        "ollama": ollama_registry(),
    }
    if request.method == "GET":
        user, repo = signed_in(request), request.GET.get("look", "")
        context["finds"] = finds_of(user, request.GET.get("q", ""))
        context["look"] = look_at(user, repo) if repo else None
        part = part_of(request, "look" if repo else "finds")
        return render(request, f"catalog/model_import.html{part}", context)
    return render(request, "catalog/model_import.html", context, status=422)


def _offer(request: HttpRequest, form: ImportForm) -> Offer | None:
    """The quantisations to choose from; None where the Hub does not answer again, and the refusal names them."""
    user, asked = signed_in(request), form.cleaned_data
    try:
        credentials = credentials_for(user, team_for(user, request.POST.get("team")))
        return offer_of(asked["source_ref"], asked["revision"], credentials=credentials)
    except Problem:
        return None


def _posted_form(request: HttpRequest) -> ImportForm | None:
    source = request.POST.get("source", "")
    if request.method != "POST" or source not in FORMS:
        return None
    return FORMS[source](request.POST, auto_id=f"{source}-%s")


def _import(request: HttpRequest, form: ImportForm) -> ModelImport | None:
    """The started import; None after its refusal was written into the form."""
    user = signed_in(request)
    try:
        team = team_for(user, request.POST.get("team"))
        return import_model(team=team, user=user, source=form.source, **form.cleaned_data)
    except Problem as problem:
        add_problem(form, problem)
    return None


@require_POST
def copies_bring(request: HttpRequest, version_id: str) -> HttpResponse:
    user = signed_in(request)
    seen = ModelVersion.objects.visible_to(user).select_related("model")
    version: ModelVersion = get_object_or_404(seen.with_public_id(version_id))
    try:
        hosts = [host for name in request.POST.getlist("hosts") if (host := host_named(name, field="hosts"))]
        brought = bring_copies(version=version, hosts=hosts, user=user)
        names = ", ".join(row.job.public_id for row in brought)
        messages.success(request, f"{names} bring{'s' if len(brought) == 1 else ''} {version} there.")
    except Problem as problem:
        messages.error(request, str(problem))
    return redirect("model", version.model.public_id)
