"""Searches a Hugging Face Hub for models by name.

Asked with the official client's connection, headers and refusals, as its `list_models` asks, but without that
function's patience: it has no time limit, and waits as long as a Hub says up to five times, which a page cannot.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from huggingface_hub import get_session
from huggingface_hub.hf_api import ModelInfo
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # type: ignore[attr-defined]

from apps.accounts.hub_tokens import HubCredential
from apps.accounts.problems import invalid
from apps.catalog.card_scores import storable
from apps.catalog.hub_access import endpoint, let_in
from apps.catalog.remote_text import read_text
from apps.catalog.source_problems import unreachable

SHOWN, MOST = 12, 50
LONGEST_TEXT = 100
_ASKED = ("downloads", "likes", "lastModified", "gated", "private", "pipeline_tag", "tags")
_REPOSITORY = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}")


@dataclass(frozen=True)
class HubModel:
    """A repository as the Hub lists it. Empty or None: the Hub does not say."""

    repo: str
    license: str
    task: str
    downloads: int | None  # of the last month
    likes: int | None
    modified_at: datetime | None
    is_gated: bool
    is_private: bool


def search_hub(text: str, *, limit: int = SHOWN, credentials: Sequence[HubCredential] = ()) -> list[HubModel]:
    """Models whose name holds `text`, most downloaded first; none for an empty text.

    Raises Problem 422 on `q` or `limit`, 503 where the Hub does not answer or is not to be asked.
    """
    text = text.strip()
    if len(text) > LONGEST_TEXT:
        raise invalid("q", f"A search has at most {LONGEST_TEXT} characters.", value=text[:40])
    if not 1 <= limit <= MOST:
        raise invalid("limit", f"limit must be between 1 and {MOST}.", value=limit)
    return let_in(lambda each: _search(text, limit, each), credentials, f"the search for {text!r}") if text else []


def _search(text: str, limit: int, credential: HubCredential) -> list[HubModel]:
    asked = [("search", text), ("sort", "downloads"), ("limit", limit), *(("expand", each) for each in _ASKED)]
    address = f"{endpoint()}/api/models?{urlencode(asked)}"
    headers = build_hf_headers(token=credential.token or False)
    said = read_text(get_session(), address, headers, hf_raise_for_status)
    try:
        rows = json.loads(said)
    except (ValueError, RecursionError):
        rows = None
    if not isinstance(rows, list):
        raise unreachable("Hub", f"{endpoint()} answers a search in a way that cannot be read. Try again later.")
    found = (_read(row) for row in rows[:limit] if isinstance(row, dict))
    return [each for each in found if each is not None]


def _read(row: dict[str, Any]) -> HubModel | None:
    """None for a row that is malformed, or that names no repository which can be imported."""
    try:
        info = ModelInfo(**{key: row[key] for key in ("id", *_ASKED) if key in row})  # type: ignore[no-untyped-call]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    if not isinstance(info.id, str) or not _REPOSITORY.fullmatch(info.id):
        return None
    return HubModel(
        repo=info.id,
        license=_license(info.tags),
        task=storable(str(info.pipeline_tag or ""))[:60],
        downloads=_count(info.downloads),
        likes=_count(info.likes),
        modified_at=info.last_modified,
        is_gated=bool(info.gated),
        is_private=bool(info.private),
    )


def _license(tags: Any) -> str:
    """A list of the Hub carries the licence as a tag; the card itself is not fetched."""
    named = [each for each in tags if isinstance(each, str)] if isinstance(tags, list) else []
    return storable(next((each[8:] for each in named if each.startswith("license:")), ""))[:80]


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < 2**53 else None
