"""Asks a Hugging Face Hub what a repository holds, before anything is downloaded.

The Hub is HF_ENDPOINT, the token HF_TOKEN, as the official client reads them. All requests go through
the egress client; the endpoint's own host may be private, because the operator named it.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from typing import Any
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

from apps.accounts.problems import FieldError, Problem, invalid
from apps.catalog.card_scores import CardScoreFacts, card_scores, storable
from apps.fleet.egress import EgressRefused, egress_client

TEXT_LIMIT_BYTES = 400_000  # of a card or a config
TEXT_SECONDS = 20.0
# What asking a Hub may raise, beside OSError.
_REFUSALS = (HfHubHTTPError, HFValidationError, json.JSONDecodeError, EgressRefused, httpx2.HTTPError)
# What is read of a repository's description, and of its card's metadata.
_READ = ("id", "author", "sha", "gated", "pipeline_tag", "library_name", "downloads", "siblings")
_READ_OF_CARD = ("license", "license_name", "language")


@dataclass(frozen=True)
class HubFacts:
    """What the Hub says about one commit of a repository."""

    commit: str
    publisher: str
    license: str = ""
    summary: str = ""
    card: str = ""  # Markdown without its front matter
    size_bytes: int = 0  # of the safetensors files
    config: dict[str, Any] = field(default_factory=dict)
    task: str = ""  # e.g. text-generation
    languages: list[str] = field(default_factory=list)  # codes, as the card gives them
    monthly_downloads: int | None = None
    is_gated: bool = False
    scores: list[CardScoreFacts] = field(default_factory=list)  # as its card reports them


def endpoint() -> str:
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def install_client() -> None:
    """Every request that huggingface_hub makes in this process goes through the egress client."""
    set_client_factory(lambda: egress_client(allow_hosts=[urlsplit(endpoint()).hostname or ""]))


def read_hub(repo: str, revision: str = "") -> HubFacts:
    """Facts of the repository, pinned to a commit. Raises Problem naming the field and the next step."""
    if is_offline_mode():
        raise _unreachable("HF_HUB_OFFLINE is set, so the Hub is not asked. Use a folder or a package.")
    try:
        info, scores = _described(repo, revision)
        size = _safetensors_bytes(repo, info)
        # The Hub tells everyone about a gated repository, but gives its files only to those let in.
        config = json.loads(_text(repo, info.sha or "", "config.json") or "{}")
        card = _text(repo, info.sha or "", "README.md")
    except (*_REFUSALS, OSError) as error:
        raise _problem(error, repo, revision) from error
    return HubFacts(
        commit=info.sha or "",
        publisher=storable(str(info.author or repo.partition("/")[0])),
        license=storable(_license(info)),
        card=storable(_without_front_matter(card)),
        summary=_summary(info),
        size_bytes=size,
        config=config if isinstance(config, dict) else {},
        task=storable(str(info.pipeline_tag or ""))[:60],
        languages=_languages(info),
        monthly_downloads=info.downloads if isinstance(info.downloads, int) and 0 <= info.downloads < 2**53 else None,
        is_gated=bool(info.gated),
        scores=scores,
    )


def _described(repo: str, revision: str) -> tuple[ModelInfo, list[CardScoreFacts]]:
    """What the Hub says of the repository. Its scores are read apart: the client's own reading of a card stops
    with an error at the first one that is malformed.
    """
    validate_repo_id(repo)
    at = f"/revision/{quote(revision, safe='')}" if revision else ""
    answer = get_session().get(
        f"{endpoint()}/api/models/{repo}{at}",
        params={"blobs": True},
        headers=build_hf_headers(token=_token()),
        timeout=15,
    )
    hf_raise_for_status(answer)
    try:
        said = answer.json()
        card = said.get("cardData") if isinstance(said.get("cardData"), dict) else {}
        known = {key: said[key] for key in _READ if key in said}
        info = ModelInfo(**known, cardData={key: card[key] for key in _READ_OF_CARD if key in card})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _unreachable(f"{endpoint()} describes {repo} in a way that cannot be read. Try again later.") from None
    return info, card_scores(said.get("model-index") or card.get("model-index"))


def _token() -> str | bool:
    """HF_TOKEN, and never a token that some person once saved on this machine."""
    return os.environ.get("HF_TOKEN") or False


def _safetensors_bytes(repo: str, info: ModelInfo) -> int:
    sizes = [file.size or 0 for file in info.siblings or [] if file.rfilename.endswith(".safetensors")]
    if not sizes:
        raise invalid(
            "source_ref",
            f"{repo} has no .safetensors file. Pickled weights can run code and are refused; "
            "name a repository with safetensors weights.",
            value=repo,
        )
    return sum(sizes)


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


def _problem(error: Exception, repo: str, revision: str) -> Problem:
    """The refusal a person can act on."""
    match error:
        case GatedRepoError():
            return _refused(f"{repo} is gated: accept its terms on {endpoint()}/{repo}, then set HF_TOKEN.", repo)
        case RepositoryNotFoundError():
            return _refused(f"{repo} is not on {endpoint()}, or is private and HF_TOKEN may not read it.", repo)
        case RevisionNotFoundError():
            return invalid("revision", f"{repo} has no revision {revision!r}. Leave it empty for main.", value=revision)
        case HFValidationError():
            return _refused(f"{repo!r} is not a repository name; write owner/name.", repo)
        case json.JSONDecodeError():
            return _refused(f"config.json of {repo} is not valid JSON; the model cannot be loaded.", repo)
        case EgressRefused():
            return _refused(str(error), repo)
        case HfHubHTTPError():
            return _answered(error, repo)
    return _unreachable(f"{endpoint()} cannot be reached ({error}). Use a folder or a package, or try later.")


def _answered(error: HfHubHTTPError, repo: str) -> Problem:
    status = error.response.status_code
    if status in (401, 403):
        return _refused(f"{endpoint()} refused HF_TOKEN for {repo} ({status}). Check the token's rights.", repo)
    if status == 429:
        seconds = error.response.headers.get("Retry-After", "60")
        return _unreachable(f"{endpoint()} asks to slow down (429). Try again in {seconds} s.")
    return _unreachable(f"{endpoint()} answered {status} for {repo}. Try again later.")


def _refused(message: str, repo: str) -> Problem:
    return invalid("source_ref", message, value=repo)


def _unreachable(message: str) -> Problem:
    return Problem(503, "Hub not reachable", message, [FieldError("source_ref", message)])
