"""Blind battles between two endpoints, and the votes on them."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils import timezone

from apps.accounts.models import TeamOwned
from apps.serving.models import Endpoint


class Battle(TeamOwned):
    """One question, two endpoints in a random order; names stay hidden until the vote."""

    id_prefix = "battle"

    prompt = models.TextField()
    left = models.ForeignKey(Endpoint, on_delete=models.CASCADE, related_name="+")
    right = models.ForeignKey(Endpoint, on_delete=models.CASCADE, related_name="+")
    left_answer = models.TextField(blank=True)
    right_answer = models.TextField(blank=True)


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
