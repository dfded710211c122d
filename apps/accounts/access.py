"""What a person may do in a team."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.http import Http404

from apps.accounts.models import Membership, Role, Team, User
from apps.accounts.problems import forbidden, not_found, unknown_choice
from apps.accounts.querysets import OwnedQuerySet

_RANK = {Role.VIEWER: 0, Role.MEMBER: 1, Role.ADMIN: 2}


def has_role(user: User | AnonymousUser, role: Role, team: Team | None = None) -> bool:
    """True when the person holds at least `role` in `team`, or in any team when none is given."""
    if not isinstance(user, User):
        return False
    if user.is_superuser:
        return True
    memberships = Membership.objects.filter(user=user)
    if team is not None:
        memberships = memberships.filter(team=team)
    return any(_RANK[Role(held)] >= _RANK[role] for held in memberships.values_list("role", flat=True))


def require_role(user: User, role: Role, team: Team) -> None:
    """Raises Problem 403 unless the person holds at least `role` in `team`."""
    if not has_role(user, role, team):
        raise forbidden(f"This needs the role “{role.label}” in team {team}. Ask an admin of the team.")


def teams_of(user: User) -> list[Team]:
    teams = Team.objects.all() if user.is_superuser else Team.objects.filter(memberships__user=user)
    return list(teams.order_by("pk"))


def administered_teams(user: User) -> list[Team]:
    """Teams whose people the person may change."""
    teams = Team.objects.all()
    if not user.is_superuser:
        teams = teams.filter(memberships__user=user, memberships__role=Role.ADMIN)
    return list(teams.order_by("pk"))


def require_server_admin(user: User) -> None:
    """Raises Problem 403 unless the person is an admin of the installation."""
    if not user.is_superuser:
        raise forbidden("Only an admin of this server may do this.")


def team_for(user: User, slug: str | None) -> Team:
    """The named team, or the person's first one. Raises Problem 422 for a team they are not in."""
    teams = teams_of(user)
    if not slug:
        if not teams:
            raise forbidden("You are in no team yet. Ask an admin to add you to one.")
        return teams[0]
    for team in teams:
        if team.slug == slug:
            return team
    raise unknown_choice("team", slug, [team.slug for team in teams], noun="team of yours")


def team_or_404(user: User, slug: str) -> Team:
    """Raises Problem 404 for a team that the person is not in: it does not exist for a stranger."""
    for team in teams_of(user):
        if team.slug == slug:
            return team
    raise not_found("team", slug)


def team_or_none(user: User, slug: str) -> Team | None:
    """None where no team is named. Raises Problem 404 for one that the person is not in."""
    return team_or_404(user, slug) if slug else None


def visible_or_404(rows: OwnedQuerySet, user: User, public_id: str, *, noun: str) -> Any:
    """The row, or Http404: another team's row does not exist for a stranger. The API says it as problem+json."""
    row = rows.visible_to(user).with_public_id(public_id).first()
    if row is None:
        raise Http404(not_found(noun, public_id).detail)
    return row
