"""The job that an address names."""

from __future__ import annotations

from django.http import HttpRequest

from apps.accounts.access import visible_or_404
from apps.accounts.models import User
from apps.accounts.rest import signed_in
from apps.jobs.models import Job, Schedule


def visible_job(request: HttpRequest, job_id: str) -> Job:
    """With everything that its page and its answer show. Raises Http404."""
    job: Job = visible_or_404(Job.objects.for_display(), signed_in(request), job_id, noun="job")
    return job


def still_sees(request: HttpRequest, job: Job) -> bool:
    """Asked again while a stream is open: meanwhile the account, the session or the membership may have ended."""
    user = User.objects.filter(pk=signed_in(request).pk, is_active=True).first()
    if user is None or not Job.objects.visible_to(user).filter(pk=job.pk).exists():
        return False
    key = request.session.session_key
    return key is None or bool(request.session.exists(key))


def visible_schedule(request: HttpRequest, schedule_id: str) -> Schedule:
    """Raises Http404."""
    rows = Schedule.objects.select_related("job", "team", "created_by")
    row: Schedule = visible_or_404(rows, signed_in(request), schedule_id, noun="schedule")
    return row
