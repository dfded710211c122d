"""Facets of the Models page: what a model has of each, what a person chose, and how many models are left.

An option's count says how many models it would show beside what is chosen in the other facets. For each option the
entries that have it are the bits of one integer, so a choice over thousands of models is a few ANDs.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property, lru_cache, reduce
from operator import and_, or_
from typing import Any, NamedTuple, TypeVar

from apps.accounts.problems import unknown_choice

Value = TypeVar("Value")
OPTIONS = 12  # of one facet, most frequent first
BILLION = 10**9
# key -> title, least, below; in parameters
SIZES = {
    "4": ("under 4 B", 0, 4 * BILLION),
    "4-15": ("4 to 15 B", 4 * BILLION, 15 * BILLION),
    "15-35": ("15 to 35 B", 15 * BILLION, 35 * BILLION),
    "35-130": ("35 to 130 B", 35 * BILLION, 130 * BILLION),
    "130": ("over 130 B", 130 * BILLION, 10**18),
}
# key -> title, least tokens
CONTEXTS = {
    "32k": ("32k or more", 32 * 1024),
    "128k": ("128k or more", 128 * 1024),
    "256k": ("256k or more", 256 * 1024),
}
INPUTS = {"text": "Text", "image": "Images", "audio": "Sound"}


class Entry(NamedTuple):
    """A model with its newest version, as far as facets and order need it."""

    pk: int
    team_id: int
    name: str
    license: str
    task: str
    languages: str  # a JSON list
    version_id: int | None
    parameters: int | None
    context: int | None
    precision: str | None
    role: str | None
    format: str | None
    size_bytes: int | None
    location_id: int | None
    sees: bool | None
    hears: bool | None
    named: str  # what a search looks into besides the card, in lower case


@dataclass(frozen=True)
class Facet:
    key: str
    title: str
    values: Callable[[Entry], Iterable[str]]
    titles: Mapping[str, str] | None = None  # of fixed options, in this order


@dataclass(frozen=True)
class Option:
    value: str
    title: str
    count: int
    is_chosen: bool


@dataclass(frozen=True)
class ShownFacet:
    key: str
    title: str
    options: list[Option]


def facets(
    runners: Mapping[str, set[int]], devices: Mapping[str, str], engines: Callable[[Entry], Iterable[str]]
) -> list[Facet]:
    """`runners`: device class -> versions that one such device runs; `devices`: device class -> its title; `engines`:
    those that can serve it here."""
    runs: dict[int | None, tuple[str, ...]] = {}
    for key, versions in runners.items():
        for version in versions:
            runs[version] = (*runs.get(version, ("any",)), key)
    return [
        Facet(
            "runs", "Runs on one", lambda entry: runs.get(entry.version_id, ()),
            {"any": "Any device here", **devices} if devices else {},
        ),
        Facet("parameters", "Parameters", _sizes, {key: title for key, (title, _, _) in SIZES.items()}),
        Facet("licence", "Licence", lambda entry: _known(entry.license.lower())),
        Facet("format", "Format", lambda entry: _known("LoRA adapter" if entry.role == "adapter" else entry.format)),
        Facet("precision", "Precision", lambda entry: _known(entry.precision)),
        Facet("context", "Context", _contexts, {key: title for key, (title, _) in CONTEXTS.items()}),
        Facet("language", "Language", lambda entry: _languages(entry.languages)),
        Facet("task", "Task", lambda entry: _known(entry.task)),
        Facet("modality", "Reads", _inputs, INPUTS),
        Facet("engine", "Engine", engines),
    ]  # fmt: skip


class FacetIndex:
    """Entries, and which of them have each option of each facet. A set of entries is a mask: bit n is entry n.

    `judged`: the versions of which it is known where they run.
    """

    def __init__(self, entries: Sequence[Entry], asked: Sequence[Facet], judged: Set[int] = frozenset()) -> None:
        self.entries, self.facets = entries, asked
        self._places = {entry.pk: place for place, entry in enumerate(entries)}
        self._having = {facet.key: self._by_value(facet.values) for facet in asked}
        self._orders: dict[tuple[str, bool], list[int]] = {}
        self.all = (1 << len(entries)) - 1
        self._judged = judged
        self.rows: dict[int, Any] = {}  # model -> its row of the list, once somebody looked at it

    def choose(self, among: int, chosen: Mapping[str, Sequence[str]]) -> tuple[int, list[ShownFacet]]:
        """Those of `among` that have one chosen value of every facet in which something is chosen, and the counts."""
        wishes = {facet.key: frozenset(wish) for facet in self.facets if (wish := chosen.get(facet.key))}
        fitting = {key: self._union(self.having(key, value) for value in wish) for key, wish in wishes.items()}
        shown = []
        for facet in self.facets:
            left = reduce(and_, (mask for key, mask in fitting.items() if key != facet.key), among)
            counts = {value: (mask & left).bit_count() for value, mask in self._having[facet.key].items()}
            shown.append(_shown(facet, counts, wishes.get(facet.key, frozenset())))
        return reduce(and_, fitting.values(), among), [facet for facet in shown if facet.options]

    def having(self, facet: str, value: str) -> int:
        return self._having[facet].get(value, 0)

    def of(self, ids: Iterable[int]) -> int:
        """The entries of these models; one that came since counts from the next request on."""
        return self._mask(self._places[pk] for pk in ids if pk in self._places)

    def naming(self, word: str) -> int:
        """The entries that have the word, in lower case, in one of their short texts."""
        return self._mask(place for place, entry in enumerate(self.entries) if word in entry.named)

    def of_teams(self, teams: Iterable[int]) -> int:
        return self._union(self._of_team.get(team, 0) for team in teams)

    @cached_property
    def stored(self) -> int:
        return self._mask(place for place, entry in enumerate(self.entries) if entry.location_id)

    @cached_property
    def unjudged(self) -> int:
        versions = ((place, entry.version_id) for place, entry in enumerate(self.entries))
        return self._mask(place for place, version in versions if version is not None and version not in self._judged)

    @cached_property
    def _of_team(self) -> dict[int, int]:
        return self._by_value(lambda entry: [entry.team_id])

    def sorted(self, among: int, column: str, *, descending: bool) -> list[Entry]:
        """By a field of Entry; unknown values stand last, equal ones by name."""
        order = self._orders.get((column, descending))
        if order is None:
            order = self._orders[column, descending] = self._order(column, descending)
        bits = self._bits(among)
        return [self.entries[place] for place in order if bits[place] == "1"]

    def listed(self, among: int) -> list[Entry]:
        return [entry for entry, bit in zip(self.entries, self._bits(among), strict=True) if bit == "1"]

    def _order(self, column: str, descending: bool) -> list[int]:
        by_name = sorted(range(len(self.entries)), key=lambda place: self.entries[place].name)
        value = [getattr(entry, column) for entry in self.entries]
        known = [place for place in by_name if value[place] is not None]
        known.sort(key=lambda place: value[place], reverse=descending)
        return known + [place for place in by_name if value[place] is None]

    def _by_value(self, values: Callable[[Entry], Iterable[Value]]) -> dict[Value, int]:
        places: dict[Value, list[int]] = defaultdict(list)
        for place, entry in enumerate(self.entries):
            for value in values(entry):
                places[value].append(place)
        return {value: self._mask(having) for value, having in places.items()}

    @staticmethod
    def _union(masks: Iterable[int]) -> int:
        return reduce(or_, masks, 0)

    def _mask(self, places: Iterable[int]) -> int:
        digits = bytearray(b"0" * len(self.entries))
        for place in places:
            digits[-1 - place] = ord("1")
        return int(digits or b"0", 2)

    def _bits(self, mask: int) -> str:
        return f"{mask:0{len(self.entries)}b}"[::-1] if self.entries else ""


def check_options(asked: Sequence[Facet], chosen: Mapping[str, Sequence[str]]) -> None:
    """Raises Problem 422 naming the facet for a value that is none of its fixed options."""
    for facet in asked:
        for value in chosen.get(facet.key, ()):
            if facet.titles is not None and value not in facet.titles:
                raise unknown_choice(facet.key, value, facet.titles, noun=f"option of {facet.key}")


def _shown(facet: Facet, counts: Mapping[str, int], wish: frozenset[str]) -> ShownFacet:
    titles = facet.titles
    if titles is None:
        frequent = sorted(filter(counts.get, counts), key=lambda value: (-counts[value], value))[:OPTIONS]
        titles = {value: value.replace("-", " ") if facet.key == "task" else value for value in frequent}
    titles = {**titles, **{value: value for value in sorted(wish) if value not in titles}}
    kept = [value for value in titles if counts.get(value) or value in wish]
    return ShownFacet(facet.key, facet.title, [Option(v, titles[v], counts.get(v, 0), v in wish) for v in kept])


def _known(value: str | None) -> tuple[str, ...]:
    return (value,) if value else ()


@lru_cache(maxsize=1000)
def _languages(value: str) -> tuple[str, ...]:
    return tuple(map(str, json.loads(value)))


def _sizes(entry: Entry) -> list[str]:
    number = entry.parameters
    return [] if number is None else [key for key, (_, least, below) in SIZES.items() if least <= number < below]


def _inputs(entry: Entry) -> list[str]:
    has = {"text": entry.version_id is not None, "image": bool(entry.sees), "audio": bool(entry.hears)}
    return [name for name in INPUTS if has[name]]


def _contexts(entry: Entry) -> list[str]:
    return [key for key, (_, least) in CONTEXTS.items() if (entry.context or 0) >= least]
