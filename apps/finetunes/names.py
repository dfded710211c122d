"""Names that people type and that become parts of addresses."""

from __future__ import annotations

import re

from apps.accounts.problems import invalid

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,78}[a-z0-9])?")


def check_name(name: str) -> None:
    """Raises Problem 422 unless the name is 1 to 80 of a-z, 0-9, dot, underscore and hyphen."""
    if not _NAME.fullmatch(name):
        suggestion = re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-._")[:80] or None
        message = "Use a to z, 0 to 9, dots, hyphens and underscores, 80 at most."
        raise invalid("name", message, value=name, nearest=suggestion)
