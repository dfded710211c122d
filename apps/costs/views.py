"""The cost panel of a job's page."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from apps.costs.models import CostEntry
from apps.jobs.lookups import visible_job


@require_safe
def job_cost(request: HttpRequest, job_id: str) -> HttpResponse:
    """A fragment, fetched by the page once it is there."""
    job = visible_job(request, job_id)
    entries = CostEntry.objects.filter(job=job)
    types = entries.grouped("gpu_type")
    context = {"job": job, "sums": entries.summed(), "types": types, "currency": settings.CURRENCY}
    return render(request, "costs/job_cost.html", context)
