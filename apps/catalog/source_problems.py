"""A source of models refuses, or cannot be asked: both are said of the field that named it."""

from __future__ import annotations

from math import ceil

from apps.accounts.problems import FieldError, Problem, invalid
from apps.engines.patience import Patience, asked_wait


def refused(message: str, asked: str) -> Problem:
    """422 about what was asked for."""
    return invalid("source_ref", message, value=asked)


def unreachable(service: str, message: str) -> Problem:
    """503: nothing is wrong with what was asked for; `service` names the source in the title."""
    return Problem(503, f"{service} not reachable", message, [FieldError("source_ref", message)])


def web_patience() -> Patience:
    """A person waits for the page: two short waits, else they are told when to try again."""
    return Patience(tries=3, seconds_left=10.0)


def slowed_down(service: str, address: str, error: Exception) -> Problem:
    """503 for a refusal by 429, with the seconds that it asks for."""
    seconds = ceil(asked_wait(error) or 0)
    return unreachable(service, f"{address} asks to slow down (429). Try again in {max(1, seconds)} s.")
