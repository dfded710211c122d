"""People, their teams and roles, the tokens they hold, and the record of what they did."""

from __future__ import annotations

from typing import ClassVar

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.utils import timezone

from apps.accounts.querysets import OwnedQuerySet, PersonManager, TokenQuerySet


class Role(models.TextChoices):
    VIEWER = "viewer", "Viewer"  # sees everything of the team
    MEMBER = "member", "Member"  # submits, stops and edits
    ADMIN = "admin", "Admin"  # also people, tokens and hosts


class Team(models.Model):
    name = models.CharField(max_length=80, unique=True)
    slug = models.SlugField(max_length=80, unique=True)
    created_at = models.DateTimeField(default=timezone.now)
    gpu_hours_per_month = models.PositiveIntegerField(null=True, blank=True)  # quota; null: no limit
    gpus_at_once = models.PositiveIntegerField(null=True, blank=True)  # quota; null: no limit

    def __str__(self) -> str:
        return self.name


class User(AbstractUser):
    """A person. `is_superuser` is the admin of this installation."""

    AUTOMATION: ClassVar[str] = "automation"  # holds the token of $STACKWEB_HOME/admin-token; never signs in

    display_name = models.CharField(max_length=120, blank=True)
    teams: models.ManyToManyField[Team, Membership] = models.ManyToManyField(
        Team, through="Membership", related_name="users"
    )

    objects: ClassVar[PersonManager] = PersonManager()

    def __str__(self) -> str:
        return self.display_name or self.username

    @property
    def is_automation(self) -> bool:
        return self.username == self.AUTOMATION


class Membership(models.Model):
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role, default=Role.MEMBER)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "team"], name="one_role_per_user_and_team")]


class TeamOwned(models.Model):
    """Belongs to a team and remembers who made it. `public_id` is what people and the API see."""

    id_prefix: ClassVar[str]

    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="+")
    created_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, db_index=True)

    objects = OwnedQuerySet.as_manager()

    class Meta:
        abstract = True

    @property
    def public_id(self) -> str:
        return f"{self.id_prefix}-{self.pk}"


class ApiToken(models.Model):
    """A person's key to /api/v1. Only its keyed hash is stored; the token is shown once."""

    class Scope(models.TextChoices):
        READ = "read", "Read"
        WRITE = "write", "Read and write"

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=80)
    scope = models.CharField(max_length=5, choices=Scope, default=Scope.WRITE)
    hint = models.CharField(max_length=16)  # first characters, to recognise it
    digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    objects = TokenQuerySet.as_manager()


class HubToken(models.Model):
    """A Hugging Face token of a person or of a team, encrypted; see hub_tokens.py."""

    user = models.OneToOneField(User, on_delete=models.CASCADE, null=True, blank=True, related_name="hub_token")
    team = models.OneToOneField(Team, on_delete=models.CASCADE, null=True, blank=True, related_name="hub_token")
    sealed = models.TextField()
    hint = models.CharField(max_length=16)  # first and last characters, to recognise it
    saved_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    saved_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(user__isnull=True) ^ models.Q(team__isnull=True), name="hub_token_has_one_owner"
            )
        ]

    def __str__(self) -> str:
        return f"Hub token of {self.team or self.user}"


class ClaimToken(models.Model):
    """A one-time link: without a person it makes the first admin, with one it lets them set a password."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, null=True, blank=True, related_name="claims")
    digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)


class IdempotentRequest(models.Model):
    """The answer already given to a create that carried an `Idempotency-Key`."""

    user = models.ForeignKey(User, on_delete=models.CASCADE)
    key = models.CharField(max_length=120)
    request_digest = models.CharField(max_length=64)
    status_code = models.PositiveSmallIntegerField(null=True)
    answer = models.JSONField(null=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "key"], name="one_answer_per_idempotency_key")]


class AuditEvent(models.Model):
    """Who did what to which object; append-only."""

    at = models.DateTimeField(default=timezone.now, db_index=True)
    actor = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    actor_label = models.CharField(max_length=150)
    team = models.ForeignKey(Team, on_delete=models.SET_NULL, null=True, related_name="+")
    action = models.CharField(max_length=60)
    object_id = models.CharField(max_length=80, db_index=True)
    object_name = models.CharField(max_length=200, blank=True)
    detail = models.JSONField(default=dict, blank=True)
