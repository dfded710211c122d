"""Pages: the table of a suite, versions side by side, and what others reported."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from apps.accounts.problems import Problem
from apps.accounts.rest import signed_in
from apps.evals.models import Suite
from apps.leaderboard.pages import compare_page, leaderboard_page
from apps.leaderboard.reported import reported_benchmarks, reported_rows
from apps.leaderboard.suites import chosen_suite


@require_safe
def leaderboard(request: HttpRequest) -> HttpResponse:
    context = leaderboard_page(signed_in(request), _suite(request))
    return render(request, "leaderboard/leaderboard.html", context)


@require_safe
def leaderboard_compare(request: HttpRequest) -> HttpResponse:
    wanted, others = request.GET.get("a", ""), request.GET.getlist("b")
    context = compare_page(signed_in(request), _suite(request), wanted, others)
    return render(request, "leaderboard/compare.html", context)


@require_safe
def leaderboard_reported(request: HttpRequest) -> HttpResponse:
    benchmarks = reported_benchmarks()
    benchmark, text = request.GET.get("benchmark") or benchmarks[0], request.GET.get("q", "")
    try:
        rows = reported_rows(benchmark, text)
    except Problem as problem:
        raise Http404(str(problem)) from None
    context = {"benchmarks": benchmarks, "benchmark": benchmark, "text": text, "rows": rows}
    return render(request, "leaderboard/reported.html", context)


def _suite(request: HttpRequest) -> Suite | None:
    try:
        return chosen_suite(signed_in(request), request.GET.get("suite", ""))
    except Problem as problem:
        raise Http404(str(problem)) from None
