"""Asks a Hugging Face Hub what a repository holds, before anything is downloaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from huggingface_hub.hf_api import ModelInfo

from apps.accounts.hub_tokens import HubCredential
from apps.catalog.card_lineage import base_models
from apps.catalog.card_scores import CardScoreFacts, card_scores, storable
from apps.catalog.hub_access import let_in
from apps.catalog.hub_repository import HubRepository, file_sizes
from apps.catalog.hub_weights import Weights, chosen_weights
from apps.catalog.licenses import LicenseClass, license_class
from apps.catalog.remote_file import Budget
from apps.catalog.remote_safetensors import StoredWeights
from apps.engines.repository_files import Format, GgufChoice, formats_of, gguf_choices, weight_files


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
    needs_remote_code: bool = False  # its config, or that of its tokenizer or processor, names it; never GGUF
    task: str = ""  # e.g. text-generation
    languages: list[str] = field(default_factory=list)  # codes, as the card gives them
    monthly_downloads: int | None = None
    is_gated: bool = False
    base_models: list[dict[str, str]] = field(default_factory=list)  # name, and relation to it: see card_lineage.py
    scores: list[CardScoreFacts] = field(default_factory=list)  # as its card reports them
    credential: str = ""  # whose token its files take: user, team, server; empty: nobody's


@dataclass(frozen=True)
class HubChoices:
    """`formats`: bytes by format. `config` is that of the smallest quantisation, alike for all of them; `stored`: the
    safetensors by their headers, where it has any."""

    commit: str
    formats: dict[Format, int]
    gguf: list[GgufChoice]
    config: dict[str, Any]
    stored: StoredWeights | None


def read_hub(
    repo: str, revision: str = "", variant: str = "", *, credentials: Sequence[HubCredential] = ()
) -> HubFacts:
    """Facts of the repository, pinned to a commit; `variant` names one of its GGUF quantisations.

    Raises Problem naming the field, the tokens that were tried, and the next step.
    """
    return let_in(lambda each: _read(HubRepository(repo, revision, each), variant), credentials, repo, revision)


def read_choices(repo: str, revision: str = "", *, credentials: Sequence[HubCredential] = ()) -> HubChoices:
    """What the repository offers, before one is chosen. Raises Problem as `read_hub`."""
    budget = Budget()  # one for all tokens that are tried
    ask = partial(HubRepository, repo, revision, budget=budget)
    return let_in(lambda each: _read_choices(ask(credential=each)), credentials, repo, revision)


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
        needs_remote_code=not weights.files and repository.needs_code(info, config),
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
    # Safetensors are loaded by config.json; a repository of GGUF files alone need not have one.
    weights = Weights.of(choices[0]) if choices and not weight_files(sizes) else Weights(0)
    config = repository.config(info, weights)  # before the headers, which take what is left of the time
    return HubChoices(info.sha or "", formats_of(sizes), choices, config, repository.stored_weights(info))


def _license(info: ModelInfo) -> str:
    """Of the Hub's list. The free `license_name` counts only beside `other`, or alone; one such as MIT there is kept as
    "other: MIT", so that no rule takes it for the licence itself."""
    card: Any = info.card_data or {}
    given = card.get("license") or "other"
    known = ", ".join(map(str, given)) if isinstance(given, list) else str(given)
    named = str(card.get("license_name") or "")
    if known != "other":
        return known
    if license_class(named) is LicenseClass.PERMISSIVE:
        return f"other: {named}"
    return named or ("other" if card.get("license") else "")


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
