"""Reads of models."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Self

from django.contrib.postgres.search import SearchRank
from django.db.models import F, Value

from apps.accounts.querysets import OwnedQuerySet
from apps.catalog.text_search import query_of, words_of

# what a person may sort by -> the field of a list's entry
SORTS = {
    "name": "name",
    "parameters": "parameters",
    "context": "context",
    "size": "size_bytes",
    "added": "pk",
}


class ModelQuerySet(OwnedQuerySet):
    def ranked(self, text: str) -> Self:
        """With `rank`: how much of the text, and how prominently, a model holds."""
        queries = [query for query in map(query_of, words_of(text)) if query is not None]
        if not queries:
            return self.annotate(rank=Value(0.0))
        return self.annotate(rank=SearchRank(F("search"), reduce(or_, queries)))
