"""The tour's pages."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods
from django.views.decorators.vary import vary_on_headers

from apps.accounts.access import team_for, visible_or_404
from apps.accounts.htmx import part_of, status_of
from apps.accounts.problems import Problem
from apps.accounts.rest import signed_in
from apps.tour.models import TourRun
from apps.tour.plan import plan_tour
from apps.tour.services import start_tour
from apps.tour.steps import STEPS
from apps.tour.tour_page import step_rows


@require_http_methods(["GET", "HEAD", "POST"])
def tour(request: HttpRequest) -> HttpResponse:
    user = signed_in(request)
    if request.method == "POST":
        try:
            return redirect("tour_run", start_tour(team=team_for(user, None), user=user).public_id)
        except Problem as problem:
            messages.error(request, str(problem))
            under_way = problem.extra.get("tour")
            return redirect("tour_run", under_way) if under_way else redirect("tour")
    earlier = TourRun.objects.visible_to(user).order_by("-pk")[:10]
    return render(request, "tour/tour.html", {"plan": plan_tour(), "earlier": earlier, "steps": STEPS})


@vary_on_headers("HX-Request")
def tour_run(request: HttpRequest, tour_id: str) -> HttpResponse:
    run: TourRun = visible_or_404(TourRun.objects.all(), signed_in(request), tour_id, noun="tour")
    rows = step_rows(run)
    done = sum(row["status"] == "done" for row in rows)
    context = {"tour": run, "rows": rows, "plan": plan_tour(), "done": done, "fraction": done / len(rows)}
    part = part_of(request, "live")
    status = status_of(request, is_over=run.status != "running")
    return render(request, f"tour/run.html{part}", context, status=status)
