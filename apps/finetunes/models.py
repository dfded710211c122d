"""Data sets and the fine-tunes made from them."""

from __future__ import annotations

from typing import Any

from django.db import models

from apps.accounts.models import TeamOwned
from apps.catalog.models import ModelVersion
from apps.jobs.models import Job


class Dataset(TeamOwned):
    """Chat rows as JSON lines; the bytes lie in the blob store under the sha256."""

    id_prefix = "ds"

    name = models.SlugField(max_length=80)
    description = models.CharField(max_length=300, blank=True)
    sha256 = models.CharField(max_length=64)
    size_bytes = models.BigIntegerField()
    row_count = models.PositiveIntegerField()
    sample_rows = models.JSONField(default=list)  # the first few, for the page

    class Meta:
        constraints = [models.UniqueConstraint(fields=["team", "name"], name="one_dataset_per_name")]

    def __str__(self) -> str:
        return self.name


class FineTune(TeamOwned):
    id_prefix = "ft"

    name = models.SlugField(max_length=80)  # also the name of the model version it makes
    base = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="fine_tunes")
    dataset = models.ForeignKey(Dataset, on_delete=models.PROTECT, related_name="fine_tunes")
    engine = models.CharField(max_length=40)
    method = models.CharField(max_length=20, default="lora")
    job = models.OneToOneField(Job, on_delete=models.PROTECT, related_name="fine_tune")
    output = models.ForeignKey(ModelVersion, on_delete=models.SET_NULL, null=True, blank=True, related_name="made_by")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["team", "name"], name="one_fine_tune_per_name")]

    def __str__(self) -> str:
        return self.name

    @property
    def options(self) -> dict[str, Any]:
        """The engine's, as the job has them: with what it took from other jobs, once it was placed."""
        options: dict[str, Any] = self.job.spec.get("options", {})
        return options
