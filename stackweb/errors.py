"""Addresses that nothing answers, and requests that cannot be read: problem+json for programs, else a page."""

from __future__ import annotations

from django.core.exceptions import DisallowedHost, RequestDataTooBig
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from apps.accounts.problems import Problem, forbidden
from stackweb.refusals import is_for_program, problem_answer, refuse


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    problem = Problem(404, "Not found", _sentence(request, exception))
    if request.path.startswith("/api/"):
        return problem_answer(problem)
    return render(request, "404.html", {"problem": problem}, status=404)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """A body that is too large, parts that cannot be told apart, or a host name that is not ours."""
    if isinstance(exception, RequestDataTooBig):
        return refuse(request, Problem(413, "Too large", "The body is over 64 MiB. Send less at once."))
    if isinstance(exception, DisallowedHost):
        return refuse(request, Problem(400, "Unknown host name", "Add the address's host to STACKWEB_ALLOWED_HOSTS."))
    return refuse(request, Problem(400, "Unreadable request", f"This request cannot be read: {exception}"[:300]))


def csrf_failed(request: HttpRequest, reason: str = "") -> HttpResponse:
    return refuse(
        request, forbidden("This form is too old, or came from elsewhere. Reload its page and send it again.")
    )


def server_error(request: HttpRequest) -> HttpResponse:
    """The trace stands in the log of the web process."""
    problem = Problem(500, "Stackweb failed here", "The error is in the log of the web process. Nothing was saved.")
    if is_for_program(request):
        return problem_answer(problem)
    return render(request, "500.html", status=500)


def _sentence(request: HttpRequest, exception: Exception) -> str:
    """What a view said itself; of an unknown address Django knows only technical things."""
    said = exception.args[0] if exception.args and isinstance(exception.args[0], str) else ""
    return said or f"There is nothing at {request.path[:200]}, or your team may not see it."
