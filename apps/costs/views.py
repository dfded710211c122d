"""The Jobs page, with what each job cost, and the cost panel of a job's page."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe
from django.views.decorators.vary import vary_on_headers

from apps.accounts.htmx import part_of
from apps.accounts.rest import signed_in
from apps.costs.models import CostEntry
from apps.jobs.job_filters import JobFilter
from apps.jobs.job_list import job_list
from apps.jobs.lookups import visible_job


@require_safe
@vary_on_headers("HX-Request")
def jobs(request: HttpRequest) -> HttpResponse:
    ends = {"older_than": request.GET.get("cursor", ""), "newer_than": request.GET.get("newer", "")}
    context = job_list(signed_in(request), JobFilter.from_address(request.GET.dict()), **ends)
    spent = CostEntry.objects.by_job([row["job"].pk for row in context["rows"]])
    context |= {"spent": spent, "currency": settings.CURRENCY}
    return render(request, f"jobs/jobs.html{part_of(request, 'list')}", context)


@require_safe
def job_cost(request: HttpRequest, job_id: str) -> HttpResponse:
    """A fragment, fetched by the page once it is there."""
    job = visible_job(request, job_id)
    entries = CostEntry.objects.filter(job=job)
    types = entries.grouped("gpu_type")
    context = {"job": job, "sums": entries.summed(), "types": types, "currency": settings.CURRENCY}
    return render(request, "costs/job_cost.html", context)
