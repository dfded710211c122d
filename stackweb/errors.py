"""Addresses that nothing answers: a page for people, problem+json for programs."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

from apps.accounts.problems import Problem


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    problem = Problem(404, "Not found", _sentence(request, exception))
    if request.path.startswith("/api/"):
        return JsonResponse(problem.as_json(), status=404, content_type="application/problem+json")
    return render(request, "404.html", {"problem": problem}, status=404)


def _sentence(request: HttpRequest, exception: Exception) -> str:
    """What a view said itself; of an unknown address Django knows only technical things."""
    said = exception.args[0] if exception.args and isinstance(exception.args[0], str) else ""
    return said or f"There is nothing at {request.path[:200]}, or your team may not see it."
