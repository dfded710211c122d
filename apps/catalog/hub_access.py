"""Whose token a Hub is asked with, and what it refuses in words that a person can act on.

Tokens are tried in turn: the person's, the team's, the server's HF_TOKEN, none.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TypeVar

import httpx2
from huggingface_hub import is_offline_mode
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from apps.accounts.hub_tokens import HubCredential
from apps.accounts.problems import Problem, invalid
from apps.catalog.source_problems import refused, slowed_down, unreachable
from apps.engines.file_headers import BadHeader
from apps.fleet.egress import EgressRefused

T = TypeVar("T")
NOBODY = HubCredential("", "no token", "")


class BadConfig(Exception):
    """A config.json that cannot be read; the message says why."""


# What asking a Hub may raise, beside OSError.
_REFUSALS = (
    HfHubHTTPError, HFValidationError, BadConfig, BadHeader, EgressRefused, httpx2.HTTPError,
)  # fmt: skip


def endpoint() -> str:
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def let_in(ask: Callable[[HubCredential], T], credentials: Sequence[HubCredential], what: str, revision: str = "") -> T:
    """What `ask` returns under the first token that the Hub accepts; `what` is a repository or a search.

    Raises Problem by the first refusal, 503 where the Hub is not to be asked.
    """
    if is_offline_mode():
        raise unreachable("Hub", "HF_HUB_OFFLINE is set, so the Hub is not asked. Use a folder or a package.")
    own = os.environ.get("HF_TOKEN")  # never a token that some person once saved on this machine
    known = [*credentials, *([HubCredential("server", "the server's HF_TOKEN", own)] if own else [])]
    first: Exception | None = None
    for credential in (*known, NOBODY):
        try:
            return ask(credential)
        except (*_REFUSALS, OSError) as error:
            first = first or error
            if not _is_about_access(error):
                raise _problem(error, what, revision, known) from error
    raise _problem(first or OSError(), what, revision, known) from first


def _is_about_access(error: Exception) -> bool:
    if isinstance(error, GatedRepoError | RepositoryNotFoundError):
        return True
    return isinstance(error, HfHubHTTPError) and error.response.status_code in (401, 403)


def _problem(error: Exception, what: str, revision: str, tried: Sequence[HubCredential]) -> Problem:
    """The refusal a person can act on."""
    match error:
        case GatedRepoError():
            return refused(f"{what} is gated: accept its terms on {endpoint()}/{what}, {_next_step(tried)}", what)
        case RepositoryNotFoundError():
            return refused(f"{what} is not on {endpoint()}, or it is private: {_next_step(tried)}", what)
        case RevisionNotFoundError():
            return invalid("revision", f"{what} has no revision {revision!r}. Leave it empty for main.", value=revision)
        case HFValidationError():
            return refused(f"{what!r} is not a repository name; write owner/name.", what)
        case EgressRefused():
            return refused(str(error), what)
        case HfHubHTTPError():
            return _answered(error, what, tried)
        case BadConfig() | BadHeader():
            part = "weights" if isinstance(error, BadHeader) else "config.json"
            return refused(f"{what} cannot be loaded by its {part}: {error}", what)
    return unreachable("Hub", f"{endpoint()} cannot be reached ({error}). Use a folder or a package, or try later.")


def _next_step(tried: Sequence[HubCredential]) -> str:
    if not tried:
        return "then save a Hub token under Settings, Tokens and keys."
    return f"with an account whose token is known here. Tried: {', '.join(each.whose for each in tried)}."


def _answered(error: HfHubHTTPError, what: str, tried: Sequence[HubCredential]) -> Problem:
    status = error.response.status_code
    if status in (401, 403):
        asked = " and ".join(each.whose for each in tried) or "a request without a token"
        return refused(f"{endpoint()} refused {asked} for {what} ({status}). Check the token's rights.", what)
    if status == 429:
        return slowed_down("Hub", endpoint(), error)
    return unreachable("Hub", f"{endpoint()} answered {status} for {what}. Try again later.")
