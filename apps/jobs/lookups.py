"""The job that an address names."""

from __future__ import annotations

from django.http import HttpRequest

from apps.accounts.access import visible_or_404
from apps.accounts.rest import signed_in
from apps.jobs.models import Job


def visible_job(request: HttpRequest, job_id: str) -> Job:
    """With everything that its page and its answer show. Raises Http404."""
    job: Job = visible_or_404(Job.objects.for_display(), signed_in(request), job_id, noun="job")
    return job
