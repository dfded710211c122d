"""Tokens of a Hugging Face Hub, of a person or a team: encrypted, and never shown again."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from apps.accounts.access import require_role
from apps.accounts.audit import audit
from apps.accounts.models import HubToken, Role, Team, User
from apps.accounts.problems import invalid, not_found
from apps.accounts.sealing import CannotUnseal, seal, unseal

_TOKEN = re.compile(r"[A-Za-z0-9_.-]{8,200}")


@dataclass(frozen=True)
class HubCredential:
    """A token and whose it is, in words; `key` names it in what is stored: user, team or server."""

    key: str
    whose: str
    token: str = field(repr=False)


@transaction.atomic
def save_hub_token(*, actor: User, token: str, team: Team | None = None) -> HubToken:
    """The person's own, or with `team` the team's, in place of the one before. Raises Problem 403 below team admin,
    422 for what can be no token."""
    if team is not None:
        require_role(actor, Role.ADMIN, team)
    token = token.strip()
    if not _TOKEN.fullmatch(token):
        raise invalid("token", "A Hub token is one word of 8 to 200 letters, digits, dots, hyphens and underscores.")
    owner: dict[str, Any] = {"team": team} if team is not None else {"user": actor}
    fields = {"sealed": seal(token), "hint": f"{token[:3]}…{token[-4:]}", "saved_by": actor, "saved_at": timezone.now()}
    row, _ = HubToken.objects.update_or_create(**owner, defaults=fields)
    audit(actor, "hub_token.saved", object_id=str(row.pk), object_name=str(row), team=team)
    return row


@transaction.atomic
def forget_hub_token(*, actor: User, team: Team | None = None) -> None:
    """Raises Problem 403 below team admin, 404 where there is none."""
    if team is not None:
        require_role(actor, Role.ADMIN, team)
    owned: dict[str, Any] = {"team": team} if team is not None else {"user": actor}
    row = HubToken.objects.filter(**owned).first()
    if row is None:
        raise not_found("Hub token", str(team or actor))
    audit(actor, "hub_token.forgotten", object_id=str(row.pk), object_name=str(row), team=team)
    row.delete()


def hub_tokens_of(user: User, teams: Sequence[Team]) -> list[HubToken]:
    """The person's own first, then those of the teams."""
    rows = HubToken.objects.filter(Q(user=user) | Q(team__in=teams)).select_related("user", "team", "saved_by")
    return list(rows.order_by(F("user").asc(nulls_last=True), "team__name"))


def credentials_for(user: User | None, team: Team) -> list[HubCredential]:
    """Those to try, the person's own first; one that cannot be read any more is left out."""
    found = []
    for key, row in (("user", HubToken.objects.filter(user=user).first() if user else None),
                     ("team", HubToken.objects.filter(team=team).first())):  # fmt: skip
        if row is not None and (token := readable(row)):
            whose = f"the token of {user}" if key == "user" else f"the token of team {team}"
            found.append(HubCredential(key, whose, token))
    return found


def readable(row: HubToken) -> str:
    """The token; empty where the installation's key has changed since it was saved."""
    try:
        return unseal(row.sealed)
    except CannotUnseal:
        return ""
