"""Facets of the Models page: what a model has of each, what a person chose, and how many models are left.

An option's count says how many models it would show beside what is chosen in the other facets.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

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
    languages: list[str]
    created_at: object
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


def facets(runners: Mapping[str, set[int]], devices: Mapping[str, str]) -> list[Facet]:
    """`runners`: device class -> versions that one such device runs; `devices`: device class -> its title."""
    anywhere: set[int | None] = set().union(*runners.values())

    def runs(entry: Entry) -> list[str]:
        able = [key for key, versions in runners.items() if entry.version_id in versions]
        return ["any", *able] if entry.version_id in anywhere else []

    return [
        Facet("runs", "Runs on one", runs, {"any": "Any device here", **devices} if devices else {}),
        Facet("parameters", "Parameters", _size, {key: title for key, (title, _, _) in SIZES.items()}),
        Facet("licence", "Licence", lambda entry: _known(entry.license.lower())),
        Facet("format", "Format", lambda entry: _known("LoRA adapter" if entry.role == "adapter" else entry.format)),
        Facet("precision", "Precision", lambda entry: _known(entry.precision)),
        Facet("context", "Context", _contexts, {key: title for key, (title, _) in CONTEXTS.items()}),
        Facet("language", "Language", lambda entry: set(entry.languages)),
        Facet("task", "Task", lambda entry: _known(entry.task)),
    ]


def choose(
    entries: Sequence[Entry], asked: Sequence[Facet], chosen: Mapping[str, Sequence[str]]
) -> tuple[list[Entry], list[ShownFacet]]:
    """The entries that have one chosen value of every facet in which something is chosen, and the counts."""
    counts: dict[str, Counter[str]] = {facet.key: Counter() for facet in asked}
    wanted = [frozenset(chosen.get(facet.key, ())) for facet in asked]
    found = []
    filtered = [at for at, wish in enumerate(wanted) if wish]
    for entry in entries:
        missed = [at for at in filtered if wanted[at].isdisjoint(asked[at].values(entry))]
        if not missed:
            found.append(entry)
        if len(missed) <= 1:  # counts under the choices of the other facets
            for facet in [asked[at] for at in missed] or asked:
                tally = counts[facet.key]
                for value in facet.values(entry):
                    tally[value] += 1
    shown = [_shown(facet, counts[facet.key], wish) for facet, wish in zip(asked, wanted, strict=True)]
    return found, [facet for facet in shown if facet.options]


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


def _size(entry: Entry) -> list[str]:
    number = entry.parameters
    return [] if number is None else [key for key, (_, least, below) in SIZES.items() if least <= number < below]


def _contexts(entry: Entry) -> list[str]:
    return [key for key, (_, least) in CONTEXTS.items() if (entry.context or 0) >= least]
