"""Who may see and change which rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from django.contrib.auth.models import AnonymousUser, UserManager
from django.db import models
from django.db.models import Q
from django.utils import timezone

from apps.accounts.paging import whole_number

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
        prefix, _, digits = public_id.rpartition("-")
        number = whole_number(digits)
        return self.none() if prefix != self.model.id_prefix or number is None else self.filter(pk=number)


class TokenQuerySet(models.QuerySet[Any]):
    def alive(self) -> Self:
        now = timezone.now()
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=now), revoked_at=None)

    def seen_by(self, user: User) -> Self:
        """A person's own tokens; an admin's view is everyone's."""
        return self.all() if user.is_superuser else self.filter(user=user)


class PersonManager(UserManager["User"]):
    def people(self) -> models.QuerySet[User]:
        """Everyone but the automation user, by name."""
        return self.exclude(username=self.model.AUTOMATION).order_by("username")

    def admins(self) -> models.QuerySet[User]:
        """People who run this installation and may sign in."""
        return self.people().filter(is_superuser=True, is_active=True)

    def seen_by(self, user: User) -> models.QuerySet[User]:
        """An admin sees everyone; others see themselves and the people of their teams."""
        if user.is_superuser:
            return self.people()
        return self.people().filter(Q(pk=user.pk) | Q(memberships__team__memberships__user=user)).distinct()
