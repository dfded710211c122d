"""Who may see and change which rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from django.contrib.auth.models import AnonymousUser
from django.db import models
from django.db.models import Q
from django.utils import timezone

if TYPE_CHECKING:
    from apps.accounts.models import User


class OwnedQuerySet(models.QuerySet[Any]):
    """Rows that belong to a team. Another team's rows do not exist for a stranger."""

    def visible_to(self, user: User | AnonymousUser) -> Self:
        if not user.is_authenticated:
            return self.none()
        if user.is_superuser:
            return self.all()
        return self.filter(team__memberships__user=user)

    def editable_by(self, user: User | AnonymousUser) -> Self:
        if not user.is_authenticated:
            return self.none()
        if user.is_superuser:
            return self.all()
        return self.filter(team__memberships__user=user, team__memberships__role__in=["member", "admin"])

    def with_public_id(self, public_id: str) -> Self:
        """The row of an id such as `job-12`; nothing for an id of another kind or shape."""
        prefix, _, number = public_id.rpartition("-")
        if prefix != self.model.id_prefix or not number.isascii() or not number.isdigit() or len(number) > 18:
            return self.none()
        return self.filter(pk=int(number))


class TokenQuerySet(models.QuerySet[Any]):
    def alive(self) -> Self:
        now = timezone.now()
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=now), revoked_at=None)
