"""What the Hub has under a name, with which of it is in the catalogue already."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from apps.accounts.access import team_for
from apps.accounts.hub_tokens import credentials_for
from apps.accounts.models import User
from apps.accounts.problems import Problem
from apps.catalog.choices import Offer, offer_of
from apps.catalog.hub_search import SHOWN, HubModel, search_hub
from apps.catalog.models import Model


@dataclass(frozen=True)
class Find:
    model: HubModel
    here: Model | None  # the newest that was imported from it


@dataclass(frozen=True)
class Finds:
    """`problem`: why the Hub was not asked or did not answer."""

    text: str
    rows: list[Find] = field(default_factory=list)
    problem: str = ""


def find_on_hub(user: User, text: str, *, limit: int = SHOWN) -> list[Find]:
    """Asked with the tokens of the person and of their first team. Raises Problem as `search_hub`."""
    found = search_hub(text, limit=limit, credentials=credentials_for(user, team_for(user, None)))
    here = _here(user, (each.repo for each in found))
    return [Find(each, here.get(each.repo)) for each in found]


def finds_of(user: User, text: str) -> Finds:
    """For a page: a refusal is a sentence on it."""
    try:
        return Finds(text, find_on_hub(user, text))
    except Problem as problem:
        return Finds(text, problem=str(problem))


@dataclass(frozen=True)
class Look:
    """Into one repository, before it is added."""

    offer: Offer | None = None
    problem: str = ""


def look_at(user: User, repo: str) -> Look:
    """For a page: what it offers here, by its files' headers; a refusal is a sentence on it."""
    try:
        return Look(offer_of(repo.strip(), credentials=credentials_for(user, team_for(user, None))))
    except Problem as problem:
        return Look(problem=str(problem))


def _here(user: User, repos: Iterable[str]) -> dict[str, Model]:
    known = Model.objects.visible_to(user).filter(source=Model.Source.HUB, source_ref__in=list(repos))
    return {each.source_ref: each for each in known.defer("card").order_by("pk")}
