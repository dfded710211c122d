"""What every page's shell shows: the team, counts beside the navigation, the load pulse."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from apps.dashboard.shell import shell_facts


def shell(request: HttpRequest) -> dict[str, Any]:
    facts: dict[str, Any] = {"csp_nonce": getattr(request, "csp_nonce", "")}
    if getattr(request, "user", None) is not None and request.user.is_authenticated:
        facts["nav"] = shell_facts(request.user)
    return facts
