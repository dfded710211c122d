"""What a button does: one service, and the sentence that the next page shows."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import messages
from django.http import HttpRequest

from apps.accounts.problems import Problem


def act(request: HttpRequest, service: Callable[[], object], said: str) -> bool:
    """True where it was done; a refusal is said instead of `said`."""
    try:
        service()
    except Problem as problem:
        messages.error(request, str(problem))
        return False
    messages.success(request, said)
    return True
