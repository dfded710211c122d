"""The page of a host's models, and deleting one there."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from apps.accounts.problems import Problem
from apps.accounts.rest import signed_in
from apps.catalog.copies import bring_copies, copies_on, delete_copy
from apps.catalog.lookups import host_named
from apps.catalog.models import ModelVersion
from apps.dashboard.host_models import host_models
from apps.fleet.models import Host


@require_safe
def host_models_page(request: HttpRequest, host_name: str) -> HttpResponse:
    host = get_object_or_404(Host, name=host_name)
    return render(request, "dashboard/host_models.html", host_models(signed_in(request), host, _sort(request)))


def _sort(request: HttpRequest) -> str:
    return request.GET.get("sort", "size")


@require_POST
def copy_delete(request: HttpRequest, host_name: str, copy_id: int) -> HttpResponse:
    host, user = get_object_or_404(Host, name=host_name), signed_in(request)
    copy = next((each for each in copies_on(host, user) if each.pk == copy_id), None)
    try:
        if copy is not None:
            job = delete_copy(copy=copy, user=user)
            stays = "is off your list; its files stay for another team"
            said = f"{job.public_id} deletes {copy.artifact.version} from {host}." if job else f"It {stays}."
            messages.success(request, said)
    except Problem as problem:
        messages.error(request, str(problem))
    return redirect("host_models", host.name)


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
