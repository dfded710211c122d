"""The page of a host's models, and deleting one there."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from apps.accounts.problems import Problem
from apps.accounts.rest import signed_in
from apps.catalog.copies import copies_on, delete_copy
from apps.dashboard.host_models import host_models
from apps.fleet.models import Host


@require_safe
def host_models_page(request: HttpRequest, host_name: str) -> HttpResponse:
    host = get_object_or_404(Host, name=host_name)
    asked = {"sort": request.GET.get("sort", "size"), "cursor": request.GET.get("cursor", "")}
    return render(request, "dashboard/host_models.html", host_models(signed_in(request), host, **asked))


@require_POST
def copy_delete(request: HttpRequest, host_name: str, copy_id: int) -> HttpResponse:
    host, user = get_object_or_404(Host, name=host_name), signed_in(request)
    copy = copies_on(host, user).filter(pk=copy_id).first()
    try:
        if copy is not None:
            job = delete_copy(copy=copy, user=user)
            stays = "is off your list; its files stay for another team"
            said = f"{job.public_id} deletes {copy.artifact.version} from {host}." if job else f"It {stays}."
            messages.success(request, said)
    except Problem as problem:
        messages.error(request, str(problem))
    return redirect("host_models", host.name)
