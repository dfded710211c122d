"""Full-text search over models: the name counts most, the card least, and words are found by how they begin.

No dictionary of one language is used: cards are in many. Punctuation only separates words, on both sides alike,
so that `qwen2.5-7b` is found whole and by each of its parts.
"""

from __future__ import annotations

import re
import string
from functools import reduce
from operator import add
from typing import Any

from django.contrib.postgres.search import SearchQuery, SearchVector, SearchVectorField
from django.db import connection
from django.db.models import Func, TextField, Value
from django.db.models.expressions import Expression
from django.db.models.functions import Left

CONFIG = "simple"
WEIGHTS = {"name": "A", "publisher": "B", "summary": "C", "card": "D"}
# Of a field. Even where every word is another one, a search vector stays under the megabyte that Postgres takes.
MOST_LETTERS = 40_000
LONGEST_PART = 60  # letters; Postgres refuses words of more than 2 kB
_SEPARATORS = string.punctuation.replace("%", "")
_NOT_WORDS = re.compile(r"[\W_]+")


class UnreadVectorField(SearchVectorField):  # type: ignore[type-arg]
    """A vector that only the database looks at: rows come without it, for it is as large as the card."""

    def select_format(self, compiler: Any, sql: str, params: Any) -> tuple[str, tuple[()]]:
        return "NULL", ()


def search_vector() -> Expression:
    """The expression that the database keeps for every model."""
    first, *rest = (_vector(field, weight) for field, weight in WEIGHTS.items())
    whole: Expression = reduce(add, rest, first)
    return whole


def _vector(field: str, weight: str) -> SearchVector:
    plain = Func(
        Left(field, MOST_LETTERS),
        Value(_SEPARATORS),
        Value(" " * len(_SEPARATORS)),
        function="translate",
        output_field=TextField(),
    )
    return SearchVector(plain, weight=weight, config=CONFIG)


def words_of(text: str) -> list[str]:
    """At most eight words of what a person typed."""
    return text.replace("\0", "").split()[:8]


def query_of(word: str) -> SearchQuery | None:
    """Finds what `models_holding` finds; None for less than two letters."""
    raw = _raw_query(word)
    return None if raw is None else SearchQuery(raw, config=CONFIG, search_type="raw")


def models_holding(word: str) -> list[int]:
    """The ids of the models that hold the word's parts one after the other, the last by its beginning; none for less
    than two letters. Always by the index (migration 0012 says why)."""
    raw = _raw_query(word)
    if raw is None:
        return []
    with connection.cursor() as cursor:  # one row for all: with one for each, five thousand take twice as long
        cursor.execute("SELECT ARRAY(SELECT catalog_models_holding(to_tsquery(%s::regconfig, %s)))", [CONFIG, raw])
        found: list[int] = cursor.fetchone()[0]
    return found


def _raw_query(word: str) -> str | None:
    parts = [part[:LONGEST_PART] for part in _NOT_WORDS.split(word) if part][:8]
    if not parts or max(map(len, parts)) < 2:
        return None
    # Letters and digits only, quoted: nothing in a part can be an operator.
    return " <-> ".join([*(f"'{part}'" for part in parts[:-1]), f"'{parts[-1]}':*"])
