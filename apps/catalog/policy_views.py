"""Settings, Model policy: what each of a person's teams lets itself use."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from apps.accounts.access import administered_teams, team_for, teams_of
from apps.accounts.problems import Problem
from apps.accounts.rest import signed_in
from apps.catalog.licenses import TITLES
from apps.catalog.policies import policy_facts, policy_of, set_policy


@require_safe
def settings_policy(request: HttpRequest) -> HttpResponse:
    return _page(request)


@require_POST
def policy_set(request: HttpRequest, team_slug: str) -> HttpResponse:
    try:
        team = team_for(signed_in(request), team_slug)
        set_policy(team=team, user=signed_in(request), **_sent(request))
    except Problem as problem:
        return _page(request, status=problem.status, problem=problem, at=team_slug)
    messages.success(request, f"The model policy of {team.name} is set. What runs goes on.")
    return redirect("settings_policy")


def _sent(request: HttpRequest) -> dict[str, Any]:
    """The policy as posted, right or wrong. The page always ticks safetensors."""
    named = (each.strip() for each in request.POST.get("licenses", "").split(","))
    return {
        "license_classes": request.POST.getlist("license_classes"),
        "licenses": [each for each in named if each],
        "formats": ["safetensors", *request.POST.getlist("formats")],
        "remote_code": "remote_code" in request.POST,
    }


def _page(request: HttpRequest, *, status: int = 200, problem: Problem | None = None, at: str = "") -> HttpResponse:
    user = signed_in(request)
    administered = set(administered_teams(user))
    rows: list[dict[str, Any]] = []
    for team in teams_of(user):
        facts = _sent(request) if team.slug == at else policy_facts(policy_of(team))
        row = {"team": team, "may_change": team in administered, "problem": problem if team.slug == at else None}
        rows.append(row | facts | {"limits": bool(facts["license_classes"] or facts["licenses"])})
    classes = [(each.value, title, examples) for each, (title, examples) in TITLES.items()]
    return render(request, "settings/policy.html", {"rows": rows, "classes": classes}, status=status)
