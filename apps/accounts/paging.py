"""Keyset pages: rows in the order of their primary key, and a cursor that says where the next page begins."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet

LONGEST = 18  # digits of a primary key: one more may pass the database's largest number


def whole_number(text: str) -> int | None:
    """The number written in 1 to 18 ASCII digits; None for any other text, such as a cursor that is not ours."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= LONGEST else None


def cut_page(rows: QuerySet[Any], size: int) -> tuple[list[Any], int | None]:
    """The first `size` rows, and the key of the last of them where more follow."""
    found = list(rows[: size + 1])
    return found[:size], found[size - 1].pk if len(found) > size else None
