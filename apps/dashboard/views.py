"""Overview, first run, hardware and search."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe
from django.views.decorators.vary import vary_on_headers

from apps.accounts.paging import whole_number
from apps.accounts.rest import signed_in
from apps.dashboard.first_run import first_run_facts
from apps.dashboard.hardware import hardware_facts
from apps.dashboard.overview import overview_facts
from apps.dashboard.search import find
from apps.dashboard.usage import has_answered, visible_usage
from apps.gateway.charts import output_chart


def _part(request: HttpRequest) -> str:
    return "#live" if request.htmx else ""  # type: ignore[attr-defined]


@require_safe
@vary_on_headers("HX-Request")
def overview(request: HttpRequest) -> HttpResponse:
    user = signed_in(request)
    if request.GET.get("part") == "output":
        return render(request, "dashboard/overview.html#output", {"output": output_chart(visible_usage(user))})
    if has_answered(user):
        # The chart looks further back than the figures, and asks for itself less often.
        chart = {} if request.htmx else {"output": output_chart(visible_usage(user))}  # type: ignore[attr-defined]
        return render(request, f"dashboard/overview.html{_part(request)}", overview_facts(user) | chart)
    return render(request, f"dashboard/first_run.html{_part(request)}", first_run_facts(user))


@require_safe
@vary_on_headers("HX-Request")
def hardware(request: HttpRequest) -> HttpResponse:
    show, asked = request.GET.get("show", "all"), request.GET.get("q", "")
    page = whole_number(request.GET.get("page", "")) or 1
    facts = hardware_facts(signed_in(request), show=show, asked=asked, page=page)
    return render(request, f"dashboard/hardware.html{_part(request)}", facts)


@require_safe
def search(request: HttpRequest) -> HttpResponse:
    asked = request.GET.get("q", "")
    return render(request, "dashboard/search.html", {"groups": find(signed_in(request), asked), "asked": asked})
