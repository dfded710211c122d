"""Asks a Hugging Face Hub what a repository holds, before anything is downloaded.

The Hub is HF_ENDPOINT, as the official client reads it. Tokens are tried in turn: the person's, the team's, the
server's HF_TOKEN, none. All requests go through
the egress client; the endpoint's own host may be private, because the operator named it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import httpx2
from huggingface_hub import get_session, hf_hub_url, is_offline_mode, set_client_factory
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import ModelInfo
from huggingface_hub.utils import (  # type: ignore[attr-defined]
    build_hf_headers,
    hf_raise_for_status,
    validate_repo_id,
)

from apps.accounts.hub_tokens import HubCredential
from apps.accounts.problems import FieldError, Problem, invalid
from apps.catalog.card_lineage import base_models
from apps.catalog.card_scores import CardScoreFacts, card_scores, storable
from apps.catalog.hub_weights import Weights, chosen_weights
from apps.catalog.remote_gguf import read_remote_gguf
from apps.engines.file_headers import BadHeader
from apps.engines.gguf_config import config_from_gguf
from apps.engines.repository_files import Format, GgufChoice, formats_of, gguf_choices
from apps.fleet.egress import EgressRefused, egress_client

# What is read of a repository's description, and of its card's metadata.
_READ_KEYS = ("id", "author", "sha", "gated", "pipeline_tag", "library_name", "downloads", "siblings", "tags")
_CARD_KEYS = ("license", "license_name", "language", "base_model", "base_model_relation")
TEXT_LIMIT_BYTES = 400_000  # of a card or a config
TEXT_SECONDS = 20.0
T = TypeVar("T")
NOBODY = HubCredential("", "no token", "")
_CREDENTIAL = ContextVar("hub_credential", default=NOBODY)  # under which requests are made now
# What asking a Hub may raise, beside OSError.
_REFUSALS = (HfHubHTTPError, HFValidationError, json.JSONDecodeError, BadHeader, EgressRefused, httpx2.HTTPError)


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
    credential: str = ""  # whose token let us in: user, team, server; empty: nobody's


@dataclass(frozen=True)
class HubChoices:
    """`formats`: bytes by format. `config` is that of the smallest quantisation, alike for all of them."""

    commit: str
    formats: dict[Format, int]
    gguf: list[GgufChoice]
    config: dict[str, Any]


def endpoint() -> str:
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def install_client() -> None:
    """Every request that huggingface_hub makes in this process goes through the egress client."""
    set_client_factory(lambda: egress_client(allow_hosts=[urlsplit(endpoint()).hostname or ""]))


def read_hub(
    repo: str, revision: str = "", variant: str = "", *, credentials: Sequence[HubCredential] = ()
) -> HubFacts:
    """Facts of the repository, pinned to a commit; `variant` names one of its GGUF quantisations.

    Raises Problem naming the field, the tokens that were tried, and the next step.
    """
    return _let_in(repo, revision, credentials, lambda: _read(repo, revision, variant))


def read_choices(repo: str, revision: str = "", *, credentials: Sequence[HubCredential] = ()) -> HubChoices:
    """What the repository offers, before one is chosen. Raises Problem as `read_hub`."""
    return _let_in(repo, revision, credentials, lambda: _read_choices(repo, revision))


def _let_in(repo: str, revision: str, credentials: Sequence[HubCredential], read: Callable[[], T]) -> T:
    """What `read` returns under the first token that the Hub accepts. Raises Problem by the first refusal."""
    own = os.environ.get("HF_TOKEN")  # never a token that some person once saved on this machine
    known = [*credentials, *([HubCredential("server", "the server's HF_TOKEN", own)] if own else [])]
    first: Exception | None = None
    for credential in (*known, NOBODY):
        reset = _CREDENTIAL.set(credential)
        try:
            return read()
        except (*_REFUSALS, OSError) as error:
            first = first or error
            if not _is_about_access(error):
                raise _problem(error, repo, revision, known) from error
        finally:
            _CREDENTIAL.reset(reset)
    raise _problem(first or OSError(), repo, revision, known) from first


def _is_about_access(error: Exception) -> bool:
    if isinstance(error, GatedRepoError | RepositoryNotFoundError):
        return True
    return isinstance(error, HfHubHTTPError) and error.response.status_code in (401, 403)


def _read(repo: str, revision: str, variant: str) -> HubFacts:
    info, scores = _model_info(repo, revision)
    weights = chosen_weights(repo, file_sizes(info), variant)
    # The Hub tells everyone about a gated repository, but gives its files only to those let in.
    config = _config(repo, info, weights)
    card = _text(repo, info.sha or "", "README.md")
    return HubFacts(
        commit=info.sha or "",
        publisher=storable(str(info.author or repo.partition("/")[0])),
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
        scores=scores,
        credential=_CREDENTIAL.get().key,
    )


def _read_choices(repo: str, revision: str) -> HubChoices:
    info, _ = _model_info(repo, revision)
    sizes = file_sizes(info)
    choices = gguf_choices(sizes)
    first = Weights(choices[0].size_bytes, choices[0].label, choices[0].files) if choices else Weights(0)
    return HubChoices(info.sha or "", formats_of(sizes), choices, _config(repo, info, first))


def _model_info(repo: str, revision: str) -> tuple[ModelInfo, list[CardScoreFacts]]:
    """What the Hub says of the repository. Its scores are read apart: the client's own reading of a card stops with an
    error at the first one that is malformed."""
    if is_offline_mode():
        raise _unreachable("HF_HUB_OFFLINE is set, so the Hub is not asked. Use a folder or a package.")
    validate_repo_id(repo)
    at = f"/revision/{quote(revision, safe='')}" if revision else ""
    asked = build_hf_headers(token=_token())
    answer = get_session().get(f"{endpoint()}/api/models/{repo}{at}", params={"blobs": True}, headers=asked, timeout=15)
    hf_raise_for_status(answer)
    try:
        said = answer.json()
        card = said.get("cardData") if isinstance(said.get("cardData"), dict) else {}
        known = {key: said[key] for key in _READ_KEYS if key in said}
        read = {key: card[key] for key in _CARD_KEYS if key in card}
        info = ModelInfo(**known, cardData=read)  # type: ignore[no-untyped-call]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _unreachable(f"{endpoint()} describes {repo} in a way that cannot be read. Try again later.") from None
    return info, card_scores(said.get("model-index") or card.get("model-index"))


def file_sizes(info: ModelInfo) -> dict[str, int]:
    return {file.rfilename: file.size or 0 for file in info.siblings or []}


def _config(repo: str, info: ModelInfo, weights: Weights) -> dict[str, Any]:
    """What llama.cpp goes by is the file's own header; everything else reads config.json."""
    commit = info.sha or ""
    if not weights.files:
        config = json.loads(_text(repo, commit, "config.json") or "{}")
        return config if isinstance(config, dict) else {}
    name = weights.files[0]
    url = hf_hub_url(repo, name, revision=commit, endpoint=endpoint())
    asked = build_hf_headers(token=_token())
    header = read_remote_gguf(get_session(), url, file_sizes(info)[name], headers=asked, check=hf_raise_for_status)
    return config_from_gguf(header)


def _token() -> str | bool:
    return _CREDENTIAL.get().token or False


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


def _text(repo: str, commit: str, name: str) -> str:
    """A small text file of the repository; empty where it has none. At most 400 kB, at most 20 s."""
    url = hf_hub_url(repo, name, revision=commit, endpoint=endpoint())
    deadline, held = time.monotonic() + TEXT_SECONDS, bytearray()
    with get_session().stream("GET", url, headers=build_hf_headers(token=_token())) as response:
        if response.is_error:
            response.read()
        try:
            hf_raise_for_status(response)
        except EntryNotFoundError:
            return ""
        for piece in response.iter_bytes():
            held += piece
            if len(held) > TEXT_LIMIT_BYTES or time.monotonic() > deadline:
                break
    return bytes(held[:TEXT_LIMIT_BYTES]).decode("utf-8", "replace")


def _without_front_matter(card: str) -> str:
    if not card.startswith("---"):
        return card.strip()
    _, _, rest = card[3:].partition("\n---")
    return rest.partition("\n")[2].strip()


def _problem(error: Exception, repo: str, revision: str, tried: Sequence[HubCredential]) -> Problem:
    """The refusal a person can act on."""
    match error:
        case GatedRepoError():
            return _refused(f"{repo} is gated: accept its terms on {endpoint()}/{repo}, {_next_step(tried)}", repo)
        case RepositoryNotFoundError():
            return _refused(f"{repo} is not on {endpoint()}, or it is private: {_next_step(tried)}", repo)
        case RevisionNotFoundError():
            return invalid("revision", f"{repo} has no revision {revision!r}. Leave it empty for main.", value=revision)
        case HFValidationError():
            return _refused(f"{repo!r} is not a repository name; write owner/name.", repo)
        case json.JSONDecodeError() | BadHeader():
            what = f"weights: {error}" if isinstance(error, BadHeader) else "config.json: it is not valid JSON."
            return _refused(f"{repo} cannot be loaded by its {what}", repo)
        case EgressRefused():
            return _refused(str(error), repo)
        case HfHubHTTPError():
            return _answered(error, repo, tried)
    return _unreachable(f"{endpoint()} cannot be reached ({error}). Use a folder or a package, or try later.")


def _next_step(tried: Sequence[HubCredential]) -> str:
    if not tried:
        return "then save a Hub token under Settings, Tokens and keys."
    return f"with an account whose token is known here. Tried: {', '.join(each.whose for each in tried)}."


def _answered(error: HfHubHTTPError, repo: str, tried: Sequence[HubCredential]) -> Problem:
    status = error.response.status_code
    if status in (401, 403):
        asked = " and ".join(each.whose for each in tried) or "a request without a token"
        return _refused(f"{endpoint()} refused {asked} for {repo} ({status}). Check the token's rights.", repo)
    if status == 429:
        seconds = error.response.headers.get("Retry-After", "60")
        return _unreachable(f"{endpoint()} asks to slow down (429). Try again in {seconds} s.")
    return _unreachable(f"{endpoint()} answered {status} for {repo}. Try again later.")


def _refused(message: str, repo: str) -> Problem:
    return invalid("source_ref", message, value=repo)


def _unreachable(message: str) -> Problem:
    return Problem(503, "Hub not reachable", message, [FieldError("source_ref", message)])
