"""The index of all models, kept by each web process for as long as none of its rows changes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from django.db import connection
from django.db.models import BooleanField, ExpressionWrapper, Q, TextField
from django.db.models.functions import Cast

from apps.catalog.engines_for import engines_for, hardware_of
from apps.catalog.facets import Entry, FacetIndex, facets
from apps.catalog.fit import DeviceClass
from apps.catalog.models import Artifact, Location, Model, ModelVersion, Verdict
from apps.catalog.verdicts import judged, running_on_one
from apps.planning.modalities import AUDIO_PARTS, IMAGE_PARTS

Fingerprint = tuple[object, ...]


def kept_index(devices: Sequence[DeviceClass]) -> FacetIndex:
    """Of every team's models; read again when a row came, changed or went, whoever wrote it."""
    return _index(_fingerprint(), tuple(devices))


@lru_cache(maxsize=2)
def _index(_: Fingerprint, devices: tuple[DeviceClass, ...]) -> FacetIndex:
    titles = {device.key: device.title for device in devices}
    hardware = {hardware_of(device.kind, device.title) for device in devices} or {"cpu"}

    def engines(entry: Entry) -> list[str]:
        if entry.format is None:
            return []
        is_adapter = entry.role == Artifact.Role.ADAPTER
        found = (engines_for(entry.format, entry.precision or "", each, is_adapter=is_adapter) for each in hardware)
        return sorted({title for titles in found for title in titles})

    return FacetIndex(_entries(), facets(running_on_one(devices), titles, engines), judged(devices))


def _fingerprint() -> Fingerprint:
    """Of the tables an index is made of: how many rows, which transactions wrote them, and where they lie.

    A change gives a row a newer transaction and another place; deletion changes the count. This needs no trigger and
    no writer's help, at some milliseconds for 5,000 models. The transactions are summed as ages, counted from a fixed
    one: numbers without a way through text, and Postgres starts no parallel workers for them.
    """
    tables = [each._meta.db_table for each in (Model, ModelVersion, Artifact, Location, Verdict)]
    marks = "count(*), count(*) * age('3'::xid) - sum(age(xmin)), sum(hashtid(ctid))"
    with connection.cursor() as cursor:
        # The names are our own tables'.
        cursor.execute(" UNION ALL ".join(f"SELECT '{table}', {marks} FROM {table}" for table in tables))  # noqa: S608
        return tuple(sorted(cursor.fetchall()))


def _entries() -> list[Entry]:
    """One entry a model, of its newest version, in one query."""
    newest = Model.objects.order_by(
        "pk", "-versions__pk", "versions__artifacts__pk", "versions__artifacts__locations__pk"
    )
    named = newest.annotate(sees=_config_names(IMAGE_PARTS), hears=_config_names(AUDIO_PARTS))
    columns = named.distinct("pk").values_list(
        "pk", "team_id", "name", "license", "task", Cast("languages", TextField()),
        "versions__pk", "versions__parameter_count", "versions__context_length", "versions__precision",
        "versions__artifacts__role", "versions__artifacts__format", "versions__artifacts__size_bytes",
        "versions__artifacts__locations__pk", "sees", "hears", "publisher", "source_ref", "summary",
    )  # fmt: skip
    return list(map(_entry, columns))


def _entry(row: tuple[Any, ...]) -> Entry:
    *facts, publisher, source, summary = row
    entry = Entry._make((*facts, ""))
    return entry._replace(named="\n".join((entry.name, publisher, source, entry.license, summary)).lower())


def _config_names(parts: Sequence[str]) -> ExpressionWrapper[Any]:
    """Whether the config.json of the version has one of these."""
    return ExpressionWrapper(Q(versions__facts__config__has_any_keys=list(parts)), BooleanField())
