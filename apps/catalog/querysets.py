"""Reads of models."""

from __future__ import annotations

from typing import Self

from django.db.models import Q

from apps.accounts.querysets import OwnedQuerySet

# what a person may sort by -> the field of a list's entry
SORTS = {
    "name": "name",
    "parameters": "parameters",
    "context": "context",
    "size": "size_bytes",
    "added": "pk",
}


class ModelQuerySet(OwnedQuerySet):
    def matching(self, text: str) -> Self:
        """Models whose name, publisher, source, licence or summary contains every word."""
        found = self
        for word in text.replace("\0", "").split()[:8]:
            fields = ("name", "publisher", "source_ref", "license", "summary")
            found = found.filter(Q(*((f"{field}__icontains", word) for field in fields), _connector=Q.OR))
        return found
