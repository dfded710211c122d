"""Edges from the bases that cards name to the versions here that were made from them."""

from __future__ import annotations

from apps.accounts.services import lock_team
from apps.catalog.models import LineageEdge, Model, ModelVersion


def join_lineage(version: ModelVersion) -> None:
    """Edges to the bases that are here, and from those here that name this model as theirs.

    Needs a transaction: one version of a team joins at a time, or two would miss each other or close a ring.
    """
    lock_team(version.team)
    model = version.model
    here = ModelVersion.objects.filter(team=version.team, model__source=Model.Source.HUB).exclude(model=model)
    for base in model.base_models:
        parent = here.filter(model__source_ref=base["name"]).order_by("-pk").first()
        if parent is not None:
            _add_edge(parent, version, base["relation"])
    for child in here.filter(model__base_models__contains=[{"name": model.source_ref}]):
        relation = next(each["relation"] for each in child.model.base_models if each["name"] == model.source_ref)
        if not child.parent_edges.filter(parent__model=model).exists():
            _add_edge(version, child, relation)


def _add_edge(parent: ModelVersion, child: ModelVersion, relation: str) -> None:
    """Not where it would close a ring, which cards that name each other would."""
    if not _descends(parent, child):
        LineageEdge.objects.get_or_create(parent=parent, child=child, defaults={"relation": relation})


def _descends(version: ModelVersion, ancestor: ModelVersion) -> bool:
    """Whether `version` is `ancestor`, or was made from it over any number of steps."""
    seen: set[int] = set()
    generation = {version.pk}
    while generation and ancestor.pk not in generation:
        seen |= generation
        parents = LineageEdge.objects.filter(child__in=generation).values_list("parent", flat=True)
        generation = set(parents) - seen
    return bool(generation)
