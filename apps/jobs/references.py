"""A field whose value is a part of another job's result: {"from": "job-12", "path": "data.final_loss"}.

Asked for in place of an option, kept beside the spec, filled in when the job is placed. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

Reference = TypedDict("Reference", {"from": str, "path": str})
References = dict[str, Reference]  # by field: "options.learning_rate"


class NoSuchResult(LookupError):
    """The message is a sentence that says what there is instead."""


def is_reference(value: object) -> bool:
    return (
        isinstance(value, dict) and value.keys() == {"from", "path"} and all(isinstance(v, str) for v in value.values())
    )


def split_references(options: Mapping[str, Any]) -> tuple[dict[str, Any], References]:
    """The plain options, and the references among them by field."""
    plain = {name: value for name, value in options.items() if not is_reference(value)}
    found: References = {f"options.{name}": options[name] for name in options if name not in plain}
    return plain, found


def result_at(result: Mapping[str, Any], path: str) -> Any:
    """The number, word or truth value at a dotted path; a list is entered by position. Raises NoSuchResult."""
    here: Any = result
    walked: list[str] = []
    for part in path.split("."):
        if isinstance(here, Mapping) and part in here:
            here = here[part]
        elif isinstance(here, list) and len(part) < 10 and part.isdecimal() and int(part) < len(here):
            here = here[int(part)]
        else:
            raise NoSuchResult(f"has no {path}; {_what_is_there(walked, here)}")
        walked.append(part)
    if isinstance(here, Mapping | list) or here is None:
        raise NoSuchResult(f"has no single value at {path}; {_what_is_there(walked, here)}")
    return here


def _what_is_there(walked: list[str], here: Any) -> str:
    place = ".".join(walked) or "its result"
    if isinstance(here, Mapping):
        return f"{place} holds {', '.join(sorted(map(str, here))[:12]) or 'nothing'}"
    if isinstance(here, list):
        return f"{place} is a list of {len(here)}"
    return f"{place} is {'empty' if here is None else 'a single value'}"
