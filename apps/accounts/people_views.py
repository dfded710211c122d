"""Settings, People and teams: who is here and what they may do."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from apps.accounts.access import administered_teams, team_for
from apps.accounts.models import Role, User
from apps.accounts.people import change_person, invite_person, people_facts, renewed_link, role_of
from apps.accounts.problems import Problem
from apps.accounts.rest import signed_in
from apps.accounts.services import create_team

ROLE_NAMES = ["Viewer", "Member", "Team admin", "Server admin"]
# What each may, in the order of ROLE_NAMES; the permission matrix in stackweb/ enforces it.
RIGHTS = [
    ("See the team's models, endpoints, jobs and scores", [True, True, True, True]),
    ("Make own API tokens", [True, True, True, True]),
    ("Import, serve, fine-tune, evaluate, stop and retry", [False, True, True, True]),
    ("Ask endpoints in the playground, vote in the arena", [False, True, True, True]),
    ("Make and revoke virtual keys", [False, True, True, True]),
    ("Add people to the team, set their roles", [False, False, True, True]),
    ("Make teams and admins, disable people, send new links", [False, False, False, True]),
    ("Add hosts, see every team", [False, False, False, True]),
]


def _people_page(request: HttpRequest, *, status: int = 200, **more: Any) -> HttpResponse:
    user = signed_in(request)
    page = people_facts(user) | {"roles": Role.choices, "values": request.POST}
    page |= {"role_names": ROLE_NAMES, "rights": RIGHTS}
    return render(request, "settings/people.html", page | more, status=status)


@require_safe
def settings(request: HttpRequest) -> HttpResponse:
    return _people_page(request)


@require_POST
def person_create(request: HttpRequest) -> HttpResponse:
    actor, sent = signed_in(request), request.POST
    try:
        person, link = invite_person(
            actor=actor,
            username=sent.get("username", ""),
            display_name=sent.get("display_name", ""),
            team=team_for(actor, sent.get("team")),
            role=role_of(sent.get("role", Role.MEMBER)),
        )
    except Problem as problem:
        return _people_page(request, status=problem.status, problem=problem, at="person")
    return _people_page(request, link=link, link_of=person)


@require_POST
def person_update(request: HttpRequest, user_id: int) -> HttpResponse:
    actor = signed_in(request)
    person = get_object_or_404(User.objects.seen_by(actor), pk=user_id)
    try:
        if "new_link" in request.POST:
            return _people_page(request, link=renewed_link(actor=actor, person=person), link_of=person)
        roles = {team: request.POST.get(f"role-{team.pk}") for team in administered_teams(actor)}
        change_person(
            actor=actor,
            person=person,
            roles={team: role_of(role) if role else None for team, role in roles.items() if role is not None},
            is_admin="is_admin" in request.POST if actor.is_superuser else person.is_superuser,
            is_active="is_active" in request.POST if actor.is_superuser else person.is_active,
        )
    except Problem as problem:
        return _people_page(request, status=problem.status, problem=problem, at=person.pk)
    return redirect("settings")


@require_POST
def team_create(request: HttpRequest) -> HttpResponse:
    try:
        create_team(actor=signed_in(request), name=request.POST.get("name", ""))
    except Problem as problem:
        return _people_page(request, status=problem.status, problem=problem, at="team")
    return redirect("settings")
