"""Overview, first run, hardware and search."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe
from django.views.decorators.vary import vary_on_headers

from apps.accounts.htmx import htmx_of, part_of
from apps.accounts.paging import whole_number
from apps.accounts.rest import signed_in
from apps.dashboard.engines_page import engines_page
from apps.dashboard.first_run import first_run_facts
from apps.dashboard.hardware import hardware_facts
from apps.dashboard.overview import overview_facts
from apps.dashboard.search import find
from apps.dashboard.usage import has_answered, visible_usage
from apps.gateway.charts import output_chart


@require_safe
@vary_on_headers("HX-Request")
def overview(request: HttpRequest) -> HttpResponse:
    user = signed_in(request)
    if request.GET.get("part") == "output":
        return render(request, "dashboard/overview.html#output", {"output": output_chart(visible_usage(user))})
    if has_answered(user):
        # The chart looks further back than the figures, and asks for itself less often.
        chart = {} if htmx_of(request) else {"output": output_chart(visible_usage(user))}
        return render(request, f"dashboard/overview.html{part_of(request, 'live')}", overview_facts(user) | chart)
    return render(request, f"dashboard/first_run.html{part_of(request, 'live')}", first_run_facts(user))


@require_safe
@vary_on_headers("HX-Request")
def hardware(request: HttpRequest) -> HttpResponse:
    show, asked = request.GET.get("show", "all"), request.GET.get("q", "")
    page = whole_number(request.GET.get("page", "")) or 1
    facts = hardware_facts(signed_in(request), show=show, asked=asked, page=page)
    return render(request, f"dashboard/hardware.html{part_of(request, 'live')}", facts)


@require_safe
def engines(request: HttpRequest) -> HttpResponse:
    asked = {"gpu": request.GET.get("gpu", "").strip()[:100], "objective": request.GET.get("objective", "")}
    return render(request, "dashboard/engines.html", engines_page(signed_in(request), **asked))


@require_safe
def search(request: HttpRequest) -> HttpResponse:
    asked = request.GET.get("q", "")
    return render(request, "dashboard/search.html", {"groups": find(signed_in(request), asked), "asked": asked})
