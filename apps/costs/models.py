"""What jobs used: device time and energy of every attempt, by day and type of device, with the price of that time."""

from __future__ import annotations

from django.db import models

from apps.accounts.models import Team
from apps.costs.querysets import CostQuerySet
from apps.jobs.models import Attempt, Job

CPU = "cpu"


class CostEntry(models.Model):
    """One attempt on one day (UTC), on one type of device. Written again while the attempt runs; the last writing
    stays, at the first one's price."""

    attempt = models.ForeignKey(Attempt, on_delete=models.CASCADE, related_name="costs")
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="costs")
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="+")
    day = models.DateField()
    device_type = models.CharField(max_length=120)  # key of a GPU type, else the driver's name; "cpu"
    device_seconds = models.FloatField()  # GPUs times seconds, slots and MIG slices as their share; on the CPU seconds
    energy_joules = models.FloatField(null=True)  # by the same share; null: no power was measured
    hour_price = models.DecimalField(max_digits=10, decimal_places=4, null=True)  # of one device; null: none known
    cost = models.DecimalField(max_digits=14, decimal_places=6, null=True)  # null while there is no price
    currency = models.CharField(max_length=3)
    accrued_at = models.DateTimeField()

    objects = CostQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["attempt", "day", "device_type"], name="one_cost_per_attempt_day_and_type")
        ]
        indexes = [models.Index(fields=["day", "team"])]
