"""Input that no database row can hold is refused at the door, by name, before any room sees it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja.parser import Parser

from apps.accounts.problems import Problem, invalid
from stackweb.refusals import refuse

MAX_DEPTH = 32
# Postgres stores neither NUL nor half of a surrogate pair.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class WellFormedMiddleware:
    """Looks at the address, the query and the form fields; JSON bodies go through StrictParser."""

    sync_capable = True
    async_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], args: list[Any], kwargs: dict[str, Any]
    ) -> HttpResponse | None:
        try:
            for name, text in _texts(request):
                _check_text(text, name)
        except Problem as problem:
            return refuse(request, problem)
        return None


def _texts(request: HttpRequest) -> Iterator[tuple[str, str]]:
    yield "address", request.path
    for sent in (request.GET, request.POST):
        for name, values in sent.lists():
            for text in (name, *map(str, values)):
                yield _UNSTORABLE.sub("", name), text


class StrictParser(Parser):
    """JSON as the standard has it: no NaN, no infinity, no text or depth that cannot be stored."""

    def parse_body(self, request: HttpRequest) -> Any:
        """Raises Problem 422."""
        try:
            body = json.loads(request.body, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            reason = "nested too deep" if isinstance(error, RecursionError) else str(error)
            raise invalid("body", f"The body is not JSON: {reason[:200]}. Send one JSON object.") from None
        return self.check(body)

    def check(self, body: Any) -> Any:
        check_storable(body)
        return body


class MendingParser(StrictParser):
    """For hosts: a sign that an engine printed and no row can hold must not cost a finished run its end."""

    def check(self, body: Any) -> Any:
        return _mended(body)


def _mended(value: Any) -> Any:
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_mended(name): _mended(inner) for name, inner in value.items()}
    return [_mended(inner) for inner in value] if isinstance(value, list) else value


def _refuse_constant(word: str) -> float:
    raise ValueError(f"{word} is not a JSON number")


def check_storable(value: object, field: str = "", depth: int = 0) -> None:
    """Raises Problem 422 naming the field whose value no database row can hold."""
    if depth > MAX_DEPTH:
        raise invalid(field.split(".", maxsplit=1)[0] or "body", f"This is nested more than {MAX_DEPTH} levels deep.")
    if isinstance(value, str):
        _check_text(value, field)
    elif isinstance(value, float) and not math.isfinite(value):
        raise invalid(field or "body", "This number is too large. Send a finite one.")
    elif isinstance(value, dict):
        for name, inner in value.items():
            _check_text(name, field)
            check_storable(inner, f"{field}.{name}".lstrip("."), depth + 1)
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            check_storable(inner, f"{field}.{place}".lstrip("."), depth + 1)


def _check_text(text: str, field: str) -> None:
    found = _UNSTORABLE.search(text)
    if found:
        raise invalid(
            field or "body",
            f"Character {found.start() + 1} (U+{ord(found[0]):04X}) cannot be stored. Remove it.",
            value=_UNSTORABLE.sub("\ufffd", text[:100]),
        )
