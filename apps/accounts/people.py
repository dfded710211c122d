"""What the pages and the API show of people, and the changes they send."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Exists, OuterRef, Prefetch
from django.utils import timezone

from apps.accounts.access import administered_teams, require_server_admin, teams_of
from apps.accounts.models import ClaimToken, Membership, Role, Team, User
from apps.accounts.problems import unknown_choice
from apps.accounts.services import create_claim, create_user, disable_user, enable_user, set_admin, set_role


def people_facts(user: User) -> dict[str, Any]:
    """People whom `user` may see, with their roles in the teams that `user` may see."""
    teams = teams_of(user)
    memberships = Membership.objects.filter(team__in=teams).select_related("team").order_by("team__name")
    open_claims = ClaimToken.objects.filter(user=OuterRef("pk"), used_at=None, expires_at__gt=timezone.now())
    people = list(
        User.objects.seen_by(user)
        .annotate(is_invited=Exists(open_claims))
        .prefetch_related(Prefetch("memberships", memberships, to_attr="seen_memberships"))
    )
    counted = Team.objects.filter(pk__in=[team.pk for team in teams]).annotate(member_count=Count("memberships"))
    return {
        "people": people,
        "admin_count": sum(person.is_superuser and person.is_active for person in people),
        "active_count": sum(person.is_active for person in people),
        "invited_count": sum(person.is_invited for person in people),
        "team_rows": list(counted.order_by("name")),
        "administered": administered_teams(user),
    }


@transaction.atomic
def invite_person(*, actor: User, username: str, display_name: str, team: Team, role: Role) -> tuple[User, str]:
    """A new person, and the one-time address with which they set a password."""
    person = create_user(actor=actor, username=username, display_name=display_name, team=team, role=role)
    return person, _claim_link(actor, person)


def renewed_link(*, actor: User, person: User) -> str:
    """A fresh link for somebody who is here already: whoever opens it becomes them."""
    require_server_admin(actor)
    return _claim_link(actor, person)


def _claim_link(actor: User, person: User) -> str:
    return f"{settings.STACKWEB_URL}/claim/{create_claim(actor=actor, user=person)}"


def role_of(word: str) -> Role:
    """Raises Problem 422 for a word that names no role."""
    if word not in Role.values:
        raise unknown_choice("role", word, Role.values, noun="role")
    return Role(word)


@transaction.atomic
def change_person(
    *, actor: User, person: User, roles: dict[Team, Role | None], is_admin: bool, is_active: bool
) -> None:
    """Applies what differs: roles per team (None leaves the team), admin right, access."""
    held = {membership.team_id: membership.role for membership in person.memberships.all()}
    for team, role in roles.items():
        if held.get(team.pk) != role:
            set_role(actor=actor, user=person, team=team, role=role)
    if person.is_superuser != is_admin:
        set_admin(actor=actor, user=person, is_admin=is_admin)
    if person.is_active and not is_active:
        disable_user(actor=actor, user=person)
    elif is_active and not person.is_active:
        enable_user(actor=actor, user=person)
