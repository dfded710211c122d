"""What htmx asked for. One place knows the attribute that its middleware adds."""

from __future__ import annotations

from django.http import HttpRequest
from django_htmx.middleware import HtmxDetails


def htmx_of(request: HttpRequest) -> HtmxDetails:
    """True where htmx asks for a part of the page."""
    details: HtmxDetails = request.htmx  # type: ignore[attr-defined]
    return details


def part_of(request: HttpRequest, name: str) -> str:
    """What follows a template's path: `#name` for htmx, nothing for the whole page."""
    return f"#{name}" if htmx_of(request) else ""


def status_of(request: HttpRequest, *, is_over: bool) -> int:
    """286 tells htmx to stop polling: what has ended moves no more."""
    return 286 if is_over and htmx_of(request) else 200
