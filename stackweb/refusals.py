"""How a refusal leaves the house: problem+json for programs, a page for people."""

from __future__ import annotations

from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import render
from django.urls import reverse

from apps.accounts.problems import Problem


def refuse(request: HttpRequest, problem: Problem) -> HttpResponse:
    if is_for_program(request):
        return problem_answer(problem)
    if problem.status == 401:
        target = f"{reverse('login')}?{urlencode({'next': request.get_full_path()})}"
        if request.headers.get("HX-Request"):
            return HttpResponse(status=204, headers={"HX-Redirect": target})
        return HttpResponseRedirect(target)
    return render(request, "403.html", {"problem": problem}, status=problem.status)


def is_for_program(request: HttpRequest) -> bool:
    return request.path.startswith("/api/") and request.path != "/api/docs"


def problem_answer(problem: Problem) -> HttpResponse:
    return JsonResponse(problem.as_json(), status=problem.status, content_type="application/problem+json")
