"""Endpoints (a stable name), their replicas (one process each) and routes (public name to endpoints)."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from apps.accounts.models import Team, TeamOwned
from apps.catalog.models import ModelVersion
from apps.jobs.models import Job
from apps.serving.querysets import EndpointQuerySet


class Endpoint(TeamOwned):
    id_prefix = "ep"

    class Wish(models.TextChoices):
        RUNNING = "running", "Running"
        STOPPED = "stopped", "Stopped"

    name = models.SlugField(max_length=63)
    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="endpoints")
    engine = models.CharField(max_length=40)
    options = models.JSONField(default=dict)
    wish = models.CharField(max_length=8, choices=Wish, default=Wish.RUNNING)

    objects = EndpointQuerySet.as_manager()  # type: ignore[misc]  # the abstract base names a wider one

    class Meta:
        constraints = [models.UniqueConstraint(fields=["team", "name"], name="one_endpoint_per_name")]

    def __str__(self) -> str:
        return self.name


class Replica(models.Model):
    """One job of kind serve; its process is the job's open attempt."""

    endpoint = models.ForeignKey(Endpoint, on_delete=models.CASCADE, related_name="replicas")
    job = models.OneToOneField(Job, on_delete=models.CASCADE, related_name="replica")
    created_at = models.DateTimeField(default=timezone.now)


class Route(models.Model):
    """The public model name that callers send; weights say which endpoint answers."""

    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="routes")
    name = models.CharField(max_length=120)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["team", "name"], name="one_route_per_name")]


class RouteTarget(models.Model):
    route = models.ForeignKey(Route, on_delete=models.CASCADE, related_name="targets")
    endpoint = models.ForeignKey(Endpoint, on_delete=models.CASCADE, related_name="targets")
    weight = models.PositiveSmallIntegerField(default=100)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["route", "endpoint"], name="one_target_per_endpoint")]
