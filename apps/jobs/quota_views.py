"""The form of a team's quota, on the Settings page."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST

from apps.accounts.models import Team
from apps.accounts.problems import Problem, invalid
from apps.accounts.rest import signed_in
from apps.jobs.quotas import set_quota


@require_POST
def quota_set(request: HttpRequest, team_slug: str) -> HttpResponse:
    team = get_object_or_404(Team, slug=team_slug)
    try:
        limits = {name: _limit(name, request.POST.get(name, "")) for name in ("gpus_at_once", "gpu_hours_per_month")}
        set_quota(team=team, user=signed_in(request), **limits)
        messages.success(request, f"The quota of {team.name} is set.")
    except Problem as problem:
        messages.error(request, str(problem))
    return redirect("settings")


def _limit(name: str, text: str) -> int | None:
    """Empty means no limit."""
    text = text.strip()
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise invalid(name, f"{name} is a whole number, or empty for no limit.", value=text[:20])
    return int(text)
