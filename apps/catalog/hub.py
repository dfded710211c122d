"""Asks a Hugging Face Hub what a repository holds, before anything is downloaded.

Tokens are tried in turn: the person's, the team's, the server's HF_TOKEN, none.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx2
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import ModelInfo

from apps.accounts.hub_tokens import HubCredential
from apps.accounts.problems import Problem, invalid
from apps.catalog.card_lineage import base_models
from apps.catalog.card_scores import CardScoreFacts, card_scores, storable
from apps.catalog.hub_repository import HubRepository, endpoint, file_sizes
from apps.catalog.hub_weights import Weights, chosen_weights
from apps.catalog.source_problems import refused, unreachable
from apps.engines.file_headers import BadHeader
from apps.engines.repository_files import Format, GgufChoice, formats_of, gguf_choices
from apps.fleet.egress import EgressRefused

T = TypeVar("T")
NOBODY = HubCredential("", "no token", "")
# What asking a Hub may raise, beside OSError.
_REFUSALS = (
    HfHubHTTPError, HFValidationError, json.JSONDecodeError, RecursionError, BadHeader, EgressRefused, httpx2.HTTPError,
)  # fmt: skip


@dataclass(frozen=True)
class HubFacts:
    """What the Hub says about one commit of a repository."""

    commit: str
    publisher: str
    license: str = ""
    summary: str = ""
    card: str = ""  # Markdown without its front matter
    size_bytes: int = 0  # of the weights that were asked for
    variant: str = ""  # the GGUF quantisation that these are; empty for safetensors
    config: dict[str, Any] = field(default_factory=dict)  # of config.json, or as the GGUF header says it
    task: str = ""  # e.g. text-generation
    languages: list[str] = field(default_factory=list)  # codes, as the card gives them
    monthly_downloads: int | None = None
    is_gated: bool = False
    base_models: list[dict[str, str]] = field(default_factory=list)  # name, and relation to it: see card_lineage.py
    scores: list[CardScoreFacts] = field(default_factory=list)  # as its card reports them
    credential: str = ""  # whose token its files take: user, team, server; empty: nobody's


@dataclass(frozen=True)
class HubChoices:
    """`formats`: bytes by format. `config` is that of the smallest quantisation, alike for all of them."""

    commit: str
    formats: dict[Format, int]
    gguf: list[GgufChoice]
    config: dict[str, Any]


def read_hub(
    repo: str, revision: str = "", variant: str = "", *, credentials: Sequence[HubCredential] = ()
) -> HubFacts:
    """Facts of the repository, pinned to a commit; `variant` names one of its GGUF quantisations.

    Raises Problem naming the field, the tokens that were tried, and the next step.
    """
    return _let_in(repo, revision, credentials, lambda repository: _read(repository, variant))


def read_choices(repo: str, revision: str = "", *, credentials: Sequence[HubCredential] = ()) -> HubChoices:
    """What the repository offers, before one is chosen. Raises Problem as `read_hub`."""
    return _let_in(repo, revision, credentials, _read_choices)


def _let_in(repo: str, revision: str, credentials: Sequence[HubCredential], read: Callable[[HubRepository], T]) -> T:
    """What `read` returns under the first token that the Hub accepts. Raises Problem by the first refusal."""
    own = os.environ.get("HF_TOKEN")  # never a token that some person once saved on this machine
    known = [*credentials, *([HubCredential("server", "the server's HF_TOKEN", own)] if own else [])]
    first: Exception | None = None
    for credential in (*known, NOBODY):
        try:
            return read(HubRepository(repo, revision, credential))
        except (*_REFUSALS, OSError) as error:
            first = first or error
            if not _is_about_access(error):
                raise _problem(error, repo, revision, known) from error
    raise _problem(first or OSError(), repo, revision, known) from first


def _is_about_access(error: Exception) -> bool:
    if isinstance(error, GatedRepoError | RepositoryNotFoundError):
        return True
    return isinstance(error, HfHubHTTPError) and error.response.status_code in (401, 403)


def _read(repository: HubRepository, variant: str) -> HubFacts:
    info, model_index = repository.describe()
    weights = chosen_weights(repository.repo, file_sizes(info), variant)
    # The Hub tells everyone about a gated repository, but gives its files only to those let in.
    config = repository.config(info, weights)
    card = repository.text("README.md", info.sha or "")
    return HubFacts(
        commit=info.sha or "",
        publisher=storable(str(info.author or repository.repo.partition("/")[0])),
        license=storable(_license(info)),
        card=storable(_without_front_matter(card)),
        summary=_summary(info),
        size_bytes=weights.size_bytes,
        variant=weights.variant,
        config=config,
        task=storable(str(info.pipeline_tag or ""))[:60],
        languages=_languages(info),
        monthly_downloads=info.downloads if isinstance(info.downloads, int) and 0 <= info.downloads < 2**53 else None,
        is_gated=bool(info.gated),
        base_models=base_models(info.card_data, info.tags),
        scores=card_scores(model_index, repository.eval_results(info)),
        # A public repository is downloaded without a token.
        credential=repository.credential.key if info.gated or info.private else "",
    )


def _read_choices(repository: HubRepository) -> HubChoices:
    info, _ = repository.describe()
    sizes = file_sizes(info)
    choices = gguf_choices(sizes)
    smallest = Weights.of(choices[0]) if choices else Weights(0)
    return HubChoices(info.sha or "", formats_of(sizes), choices, repository.config(info, smallest))


def _license(info: ModelInfo) -> str:
    card = info.card_data
    given = (card.get("license_name") or card.get("license") or "") if card else ""
    return str(", ".join(given) if isinstance(given, list) else given)


def _languages(info: ModelInfo) -> list[str]:
    """At most twenty; a card may hold one code, a list of them, or anything else that its author wrote."""
    given = info.card_data.get("language") if info.card_data else None
    codes = [given] if isinstance(given, str) else given if isinstance(given, list) else []
    return [storable(code)[:20] for code in codes if isinstance(code, str)][:20]


def _summary(info: ModelInfo) -> str:
    tags = [info.pipeline_tag or "", info.library_name or ""]
    return storable(", ".join(str(tag).replace("-", " ") for tag in tags if tag))


def _without_front_matter(card: str) -> str:
    if not card.startswith("---"):
        return card.strip()
    _, _, rest = card[3:].partition("\n---")
    return rest.partition("\n")[2].strip()


def _problem(error: Exception, repo: str, revision: str, tried: Sequence[HubCredential]) -> Problem:
    """The refusal a person can act on."""
    match error:
        case GatedRepoError():
            return refused(f"{repo} is gated: accept its terms on {endpoint()}/{repo}, {_next_step(tried)}", repo)
        case RepositoryNotFoundError():
            return refused(f"{repo} is not on {endpoint()}, or it is private: {_next_step(tried)}", repo)
        case RevisionNotFoundError():
            return invalid("revision", f"{repo} has no revision {revision!r}. Leave it empty for main.", value=revision)
        case HFValidationError():
            return refused(f"{repo!r} is not a repository name; write owner/name.", repo)
        case BadHeader() | json.JSONDecodeError() | RecursionError():
            return refused(f"{repo} cannot be loaded by its {_fault(error)}", repo)
        case EgressRefused():
            return refused(str(error), repo)
        case HfHubHTTPError():
            return _answered(error, repo, tried)
    return unreachable("Hub", f"{endpoint()} cannot be reached ({error}). Use a folder or a package, or try later.")


def _fault(error: Exception) -> str:
    if isinstance(error, BadHeader):
        return f"weights: {error}"
    return f"config.json: it is {'nested too deep' if isinstance(error, RecursionError) else 'not valid JSON'}."


def _next_step(tried: Sequence[HubCredential]) -> str:
    if not tried:
        return "then save a Hub token under Settings, Tokens and keys."
    return f"with an account whose token is known here. Tried: {', '.join(each.whose for each in tried)}."


def _answered(error: HfHubHTTPError, repo: str, tried: Sequence[HubCredential]) -> Problem:
    status = error.response.status_code
    if status in (401, 403):
        asked = " and ".join(each.whose for each in tried) or "a request without a token"
        return refused(f"{endpoint()} refused {asked} for {repo} ({status}). Check the token's rights.", repo)
    if status == 429:
        seconds = error.response.headers.get("Retry-After", "60")
        return unreachable("Hub", f"{endpoint()} asks to slow down (429). Try again in {seconds} s.")
    return unreachable("Hub", f"{endpoint()} answered {status} for {repo}. Try again later.")
