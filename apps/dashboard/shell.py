"""Counts and load for the navigation of every page."""

from __future__ import annotations

from typing import Any

from apps.accounts.models import User


def shell_facts(user: User) -> dict[str, Any]:
    return {}
