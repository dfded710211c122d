"""Where the page of an evaluation job is."""

from __future__ import annotations

from django.urls import reverse

from apps.evals.models import EvalRun
from apps.jobs.models import Job


def eval_run_url(job: Job) -> str:
    run = EvalRun.objects.filter(job=job).first()
    return reverse("eval_run", args=[run.public_id]) if run else reverse("job", args=[job.public_id])
