"""A source of models refuses, or cannot be asked: both are said of the field that named it."""

from __future__ import annotations

from apps.accounts.problems import FieldError, Problem, invalid


def refused(message: str, asked: str) -> Problem:
    """422 about what was asked for."""
    return invalid("source_ref", message, value=asked)


def unreachable(service: str, message: str) -> Problem:
    """503: nothing is wrong with what was asked for; `service` names the source in the title."""
    return Problem(503, f"{service} not reachable", message, [FieldError("source_ref", message)])
