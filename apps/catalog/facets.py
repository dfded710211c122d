"""Facets of the Models page: what a model has of each, what a person chose, and how many models are left.

An option's count says how many models it would show beside what is chosen in the other facets.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from operator import attrgetter
from typing import Any, NamedTuple

from apps.accounts.problems import unknown_choice

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


class Entry(NamedTuple):
    """A model with its newest version, as far as facets and order need it."""

    pk: int
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


@dataclass(frozen=True)
class Facet:
    """`trait`: what of a model decides; `values`: the options that such a trait belongs to. Thousands of models
    share few traits, so options are worked out once for each trait."""

    key: str
    title: str
    trait: Callable[[Entry], Hashable]
    values: Callable[[Any], Iterable[str]]
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


def facets(runners: Mapping[str, set[int]], devices: Mapping[str, str]) -> list[Facet]:
    """`runners`: device class -> versions that one such device runs; `devices`: device class -> its title."""
    runs: dict[int | None, tuple[str, ...]] = {}
    for key, versions in runners.items():
        for version in versions:
            runs[version] = (*runs.get(version, ("any",)), key)
    return [
        Facet(
            "runs", "Runs on one", lambda entry: runs.get(entry.version_id, ()), tuple,
            {"any": "Any device here", **devices} if devices else {},
        ),
        Facet("parameters", "Parameters", attrgetter("parameters"), _sizes,
              {key: title for key, (title, _, _) in SIZES.items()}),
        Facet("licence", "Licence", attrgetter("license"), _lower),
        Facet("format", "Format", attrgetter("role", "format"), _format),
        Facet("precision", "Precision", attrgetter("precision"), _known),
        Facet("context", "Context", attrgetter("context"), _contexts,
              {key: title for key, (title, _) in CONTEXTS.items()}),
        Facet("language", "Language", attrgetter("languages"), _languages),
        Facet("task", "Task", attrgetter("task"), _known),
    ]  # fmt: skip


def choose(
    entries: Sequence[Entry], asked: Sequence[Facet], chosen: Mapping[str, Sequence[str]]
) -> tuple[list[Entry], list[ShownFacet]]:
    """The entries that have one chosen value of every facet in which something is chosen, and the counts."""
    traits = [list(map(facet.trait, entries)) for facet in asked]
    options = [
        {trait: frozenset(facet.values(trait)) for trait in set(column)}
        for facet, column in zip(asked, traits, strict=True)
    ]
    wanted = [frozenset(chosen.get(facet.key, ())) for facet in asked]
    missed, last_missed = [0] * len(entries), [-1] * len(entries)
    for at, wish in enumerate(wanted):
        if wish:
            wrong = {trait for trait, values in options[at].items() if wish.isdisjoint(values)}
            for index, trait in enumerate(traits[at]):
                if trait in wrong:
                    missed[index] += 1
                    last_missed[index] = at
    found = [entry for entry, misses in zip(entries, missed, strict=True) if not misses]
    shown = []
    for at, (facet, wish) in enumerate(zip(asked, wanted, strict=True)):
        # What the other facets leave: entries that miss nothing, or only here.
        left = [not m or (m == 1 and last == at) for m, last in zip(missed, last_missed, strict=True)]
        counts: Counter[str] = Counter()
        for trait, count in Counter(compress(traits[at], left)).items():
            for value in options[at][trait]:
                counts[value] += count
        shown.append(_shown(facet, counts, wish))
    return found, [facet for facet in shown if facet.options]


def check_options(asked: Sequence[Facet], chosen: Mapping[str, Sequence[str]]) -> None:
    """Raises Problem 422 naming the facet for a value that is none of its fixed options."""
    for facet in asked:
        for value in chosen.get(facet.key, ()):
            if facet.titles is not None and value not in facet.titles:
                raise unknown_choice(facet.key, value, facet.titles, noun=f"option of {facet.key}")


def _shown(facet: Facet, counts: Counter[str], wish: frozenset[str]) -> ShownFacet:
    titles = facet.titles
    if titles is None:
        frequent = sorted(counts, key=lambda value: (-counts[value], value))[:OPTIONS]
        titles = {value: value.replace("-", " ") if facet.key == "task" else value for value in frequent}
    titles = {**titles, **{value: value for value in sorted(wish) if value not in titles}}
    kept = [value for value in titles if counts[value] or value in wish]
    return ShownFacet(facet.key, facet.title, [Option(v, titles[v], counts[v], v in wish) for v in kept])


def _known(value: str | None) -> list[str]:
    return [value] if value else []


def _lower(value: str) -> list[str]:
    return _known(value.lower())


def _format(stored: tuple[str | None, str | None]) -> list[str]:
    role, kind = stored
    return _known("LoRA adapter" if role == "adapter" else kind)


def _languages(value: str) -> list[str]:
    return [str(each) for each in json.loads(value)]


def _sizes(number: int | None) -> list[str]:
    return [] if number is None else [key for key, (_, least, below) in SIZES.items() if least <= number < below]


def _contexts(tokens: int | None) -> list[str]:
    return [key for key, (_, least) in CONTEXTS.items() if (tokens or 0) >= least]
