"""The id of a line that is too long, too deep or too broken to be read, so that its error finds its question."""

from __future__ import annotations

import json
import re
from typing import Any

_STRING = rb'"(?:[^"\\]|\\.)*"'
_PLAIN = rb"(?:" + _STRING + rb"|-?\d[\d.eE+-]*|true|false|null)"
_AHEAD = re.compile(
    rb"\s*\{\s*(?:" + _STRING + rb"\s*:\s*" + _PLAIN + rb'\s*,\s*)*?"id"\s*:\s*(' + _PLAIN + rb")\s*[,}]", re.S
)
_BEHIND = re.compile(
    rb',\s*"id"\s*:\s*(' + _PLAIN + rb")\s*(?:,\s*" + _STRING + rb"\s*:\s*" + _PLAIN + rb"\s*)*\}\s*$", re.S
)
_SEARCHED_AHEAD, _SEARCHED_BEHIND = 2**16, 2**12


def id_of(line: bytes) -> Any:
    """The plain value under "id" before or behind everything nested; None where there is none in sight."""
    found = _AHEAD.match(line[:_SEARCHED_AHEAD]) or _BEHIND.search(line[-_SEARCHED_BEHIND:])
    try:
        return json.loads(found[1]) if found else None
    except ValueError:
        return None
