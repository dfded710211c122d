"""What the Models page shows: its headline, its facets and a page of rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Count

from apps.accounts.access import teams_of
from apps.accounts.models import User
from apps.catalog.facets import Entry, FacetIndex, check_options
from apps.catalog.fit import DeviceClass, device_classes
from apps.catalog.kept_index import kept_index
from apps.catalog.models import Artifact, Location, Model, ModelImport, ModelVersion
from apps.catalog.querysets import SORTS, ModelQuerySet
from apps.catalog.text_search import models_holding, words_of
from apps.catalog.verdicts import KeptFit, kept_fits

ROWS = 50  # on a page
CLASSES = 4  # columns of the "runs on" cells
MOST_RANKED = 200  # models found; a look at one card takes a tenth of a millisecond
MOST_KEPT = 2000  # rows, of some kilobytes each
NOTHING: Mapping[str, Sequence[str]] = {}


@dataclass(frozen=True)
class Wish:
    """What a person asked of the list. Unknown keys mean the usual; an unknown option of a facet finds nothing."""

    text: str = ""
    sort: str = "-added"
    show: str = "all"  # all, stored or served
    page: int = 1
    chosen: Mapping[str, Sequence[str]] = field(default_factory=dict)  # facet -> options


@dataclass(frozen=True)
class ModelRow:
    model: Model
    version: ModelVersion | None
    version_count: int
    artifact: Artifact | None
    hosts: list[str]
    fits: list[KeptFit]
    drawn: dict[int, str] = field(default_factory=dict)  # how many scores -> its HTML


def model_list(user: User, wish: Wish, *, served: Collection[int] = ()) -> dict[str, Any]:
    """The template's context. `served`: models that an endpoint serves."""
    sort = wish.sort if wish.sort.removeprefix("-") in SORTS else ""
    devices = device_classes()[:CLASSES]
    index = kept_index(devices)
    visible = _visible(user, index)
    found, shown = index.choose(visible & _matching(wish.text, index), wish.chosen)
    kinds = {
        "all": ("All", found),
        "stored": ("On disk", found & index.stored),
        "served": ("Serving", found & index.of(served)),
    }
    show = wish.show if wish.show in kinds else "all"
    ordered = _ordered(index, kinds[show][1], sort, wish.text)
    pages = max(1, -(-len(ordered) // ROWS))
    page = min(max(wish.page, 1), pages)
    on_page = ordered[(page - 1) * ROWS : page * ROWS]
    imports = ModelImport.objects.visible_to(user).filter(job__finished_at=None).select_related("job")
    return {
        "rows": kept_rows(on_page, devices, index),
        "devices": devices,
        "facets": shown,
        "chosen_count": sum(option.is_chosen for facet in shown for option in facet.options),
        "imports": list(imports.order_by("-pk")[:10]),
        "text": wish.text,
        "sort": sort,
        "show": show,
        "filters": [(key, title, kept.bit_count()) for key, (title, kept) in kinds.items()],
        "page": page,
        "pages": pages,
        "found_count": found.bit_count(),
        "shown_count": len(ordered),
        "total": visible.bit_count(),
        "headline": _headline(index, found, devices),
        "disk_bytes": sum(entry.size_bytes or 0 for entry in ordered if entry.location_id),
        "has_cpu_only": bool(devices) and devices[0].kind == "cpu",
    }


def models_with(user: User, text: str, chosen: Mapping[str, Sequence[str]] = NOTHING) -> ModelQuerySet:
    """The models that the page would list for these words and facets.

    Raises Problem 422 naming the facet for a value that is none of its fixed options.
    """
    models = Model.objects.visible_to(user)
    if not text.strip() and not any(chosen.values()):
        return models
    index = kept_index(device_classes()[:CLASSES])
    check_options(index.facets, chosen)
    found, _ = index.choose(_visible(user, index) & _matching(text, index), chosen)
    return models.filter(pk__in=[entry.pk for entry in index.listed(found)])


def _visible(user: User, index: FacetIndex) -> int:
    return index.of_teams(team.pk for team in teams_of(user))


def _matching(text: str, index: FacetIndex) -> int:
    """Models of which every word is part of name, publisher, source, licence or summary, or begins a word of them or
    of the card; whosever they are."""
    found = index.all
    for word in words_of(text):
        named = index.naming(word.lower())
        found &= named if found & named == found else named | index.of(models_holding(word))
    return found


def _ordered(index: FacetIndex, found: int, sort: str, text: str) -> list[Entry]:
    """As asked; else a search by rank, names that hold its text first, and all else newest first.

    What so many models hold ranks none of them, and would take longer than the page.
    """
    if sort or not text.strip():
        column = SORTS[sort.removeprefix("-") or "added"]
        return index.sorted(found, column, descending=not sort or sort.startswith("-"))
    entries = index.sorted(found, SORTS["added"], descending=True)
    if len(entries) <= MOST_RANKED:
        ranked = Model.objects.filter(pk__in=[entry.pk for entry in entries]).ranked(text)
        ranks = dict(ranked.values_list("pk", "rank"))
        entries.sort(key=lambda entry: -ranks.get(entry.pk, 0.0))
    words = text.strip().lower()
    return sorted(entries, key=lambda entry: words not in entry.name.lower())


def kept_rows(entries: Sequence[Entry], devices: Sequence[DeviceClass], index: FacetIndex) -> list[ModelRow]:
    """Rows in this order; a row is read once for as long as the index stands."""
    rows = {entry.pk: row for entry in entries if (row := index.rows.get(entry.pk)) is not None}
    read = {row.model.pk: row for row in _read_rows([entry for entry in entries if entry.pk not in rows], devices)}
    if len(index.rows) + len(read) > MOST_KEPT:
        index.rows.clear()
    index.rows.update(read)
    rows |= read
    return [rows[entry.pk] for entry in entries if entry.pk in rows]


def _read_rows(entries: Sequence[Entry], devices: Sequence[DeviceClass]) -> list[ModelRow]:
    """With six queries for all of them; none for none."""
    if not entries:
        return []
    models = Model.objects.defer("card").in_bulk([entry.pk for entry in entries])
    newest = [entry.version_id for entry in entries if entry.version_id]
    versions = {each.model_id: each for each in ModelVersion.objects.filter(pk__in=newest).defer("facts")}
    counts = dict(ModelVersion.objects.filter(model__in=models).values_list("model").annotate(Count("pk")))
    artifacts: dict[int, Artifact] = {}
    for artifact in Artifact.objects.filter(version__in=newest).defer("files").order_by("pk"):
        artifacts.setdefault(artifact.version_id, artifact)
    hosts: dict[int, list[str]] = defaultdict(list)
    places = Location.objects.filter(artifact__in=artifacts.values()).order_by("host__name")
    for artifact_id, host in places.values_list("artifact_id", "host__name"):
        hosts[artifact_id].append(host)
    fits = kept_fits(newest, devices)
    rows = []
    for model in models.values():
        version = versions.get(model.pk)
        first = artifacts.get(version.pk) if version else None
        on, cells = hosts[first.pk] if first else [], fits[version.pk] if version else []
        rows.append(ModelRow(model, version, counts.get(model.pk, 0), first, on, cells))
    return rows


def _headline(index: FacetIndex, found: int, devices: list[DeviceClass]) -> str:
    if not found:
        return "Models"
    total = found.bit_count()
    count = f"{total:,} {'model' if total == 1 else 'models'}"
    if not devices:
        return f"{count}; no host is connected to run them"
    able, unknown = (found & index.having("runs", "any")).bit_count(), (found & index.unjudged).bit_count()
    if unknown == total:
        return f"{count}; where {'it runs' if total == 1 else 'they run'} is being worked out"
    where = "on the CPU of a host here" if devices[0].kind == "cpu" else "on a single GPU you own"
    verb = "runs" if able == 1 else "run"
    pending = f", {unknown:,} being worked out" if unknown else ""
    return f"{able:,} of {count} {verb} {where}{pending}"
