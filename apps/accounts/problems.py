"""The one way to refuse: a Problem names the field, what was wrong and what would be right.

The API renders it as problem+json (RFC 9457), pages render it beside the field.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class FieldError:
    field: str
    message: str
    value: Any = None
    nearest: str | None = None


@dataclass(eq=False)
class Problem(Exception):
    """A refusal with an HTTP status. Nothing was changed when it is raised."""

    status: int
    title: str
    detail: str = ""
    errors: list[FieldError] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.detail or self.title

    def as_json(self) -> dict[str, Any]:
        body: dict[str, Any] = {"type": "about:blank", "title": self.title, "status": self.status}
        if self.detail:
            body["detail"] = self.detail
        if self.errors:
            body["errors"] = [
                {k: v for k, v in asdict(error).items() if k != "nearest" or v is not None} for error in self.errors
            ]
        return body | self.extra


def invalid(field_name: str, message: str, *, value: Any = None, nearest: str | None = None) -> Problem:
    """422 about one field."""
    return Problem(422, "Invalid input", message, [FieldError(field_name, message, value, nearest)])


def unknown_choice(field_name: str, value: str, choices: Iterable[str], *, noun: str) -> Problem:
    """422 for a name that does not exist, with the nearest one that does."""
    known = sorted(choices)
    near = difflib.get_close_matches(value, known, n=1, cutoff=0.4)
    nearest = near[0] if near else None
    hint = f"Did you mean “{nearest}”?" if nearest else f"Known: {', '.join(known) or 'none yet'}."
    return invalid(field_name, f"There is no {noun} “{value}”. {hint}", value=value, nearest=nearest)


def not_found(noun: str, value: str) -> Problem:
    return Problem(404, "Not found", f"There is no {noun} “{value}”, or your team may not see it.")


def forbidden(detail: str) -> Problem:
    return Problem(403, "Not allowed", detail)


def too_large(field_name: str, message: str) -> Problem:
    """413; the message says the limit."""
    return Problem(413, "Too large", message, [FieldError(field_name, message)])


def conflict(detail: str, **extra: Any) -> Problem:
    return Problem(409, "Conflict", detail, extra=extra)
