"""Reads of models: what a list needs of the newest version, in one query."""

from __future__ import annotations

from typing import Self

from django.db.models import F, OuterRef, Q, Subquery

from apps.accounts.querysets import OwnedQuerySet

# what a person may sort by -> the annotation below
SORTS = {
    "name": "name",
    "parameters": "newest_parameters",
    "context": "newest_context",
    "size": "newest_size",
    "added": "created_at",
}


class ModelQuerySet(OwnedQuerySet):
    def with_newest(self) -> Self:
        """Adds id, parameter count, context length and size in bytes of each model's newest version."""
        versions = self.model._meta.get_field("versions").related_model.objects
        newest = versions.filter(model=OuterRef("pk")).order_by("-pk")
        return self.annotate(
            newest_id=Subquery(newest.values("pk")[:1]),
            newest_parameters=Subquery(newest.values("parameter_count")[:1]),
            newest_context=Subquery(newest.values("context_length")[:1]),
            newest_size=Subquery(newest.values("artifacts__size_bytes")[:1]),
        )

    def matching(self, text: str) -> Self:
        """Models whose name, publisher, source or licence contains every word."""
        found = self
        for word in text.split()[:8]:
            fields = ("name", "publisher", "source_ref", "license")
            found = found.filter(Q(*((f"{field}__icontains", word) for field in fields), _connector=Q.OR))
        return found

    def sorted_by(self, key: str) -> Self:
        """By a key of SORTS, `-` in front for descending; unknown values stand last. Needs `with_newest`."""
        column = F(SORTS[key.removeprefix("-")])
        ordered = column.desc(nulls_last=True) if key.startswith("-") else column.asc(nulls_last=True)
        return self.order_by(ordered, "name")
