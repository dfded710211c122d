"""Blind battles between two endpoints, and the votes on them."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.db import models
from django.utils import timezone

from apps.accounts.models import TeamOwned
from apps.serving.models import Endpoint

LOST_AFTER = timedelta(minutes=4)  # longer than any answer may take


class Battle(TeamOwned):
    """One question, two endpoints in a random order; names stay hidden until the vote."""

    id_prefix = "battle"

    prompt = models.TextField()
    left = models.ForeignKey(Endpoint, on_delete=models.CASCADE, related_name="+")
    right = models.ForeignKey(Endpoint, on_delete=models.CASCADE, related_name="+")
    left_answer = models.TextField(blank=True)
    right_answer = models.TextField(blank=True)
    left_error = models.CharField(max_length=300, blank=True)  # why there is no answer, in the gateway's words
    right_error = models.CharField(max_length=300, blank=True)
    answered_at = models.DateTimeField(null=True, blank=True)

    @property
    def state(self) -> str:
        """waiting, lost (nobody will answer any more), failed, open for votes, or voted."""
        if hasattr(self, "vote"):
            return "voted"
        if self.answered_at is None:
            return "lost" if timezone.now() - self.created_at > LOST_AFTER else "waiting"
        return "failed" if self.left_error or self.right_error else "open"


class Vote(models.Model):
    class Choice(models.TextChoices):
        LEFT = "left", "Left is better"
        RIGHT = "right", "Right is better"
        TIE = "tie", "Tie"
        BOTH_BAD = "both_bad", "Both are bad"

    battle = models.OneToOneField(Battle, on_delete=models.CASCADE, related_name="vote")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    choice = models.CharField(max_length=8, choices=Choice)
    at = models.DateTimeField(default=timezone.now)
