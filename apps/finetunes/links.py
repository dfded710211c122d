"""Where a training job's page is."""

from __future__ import annotations

from django.urls import reverse

from apps.finetunes.models import FineTune
from apps.jobs.models import Job


def fine_tune_url(job: Job) -> str:
    fine_tune = FineTune.objects.filter(job=job).first()
    if fine_tune is None:
        return reverse("job", args=[job.public_id])
    return reverse("fine_tune", args=[fine_tune.public_id])
