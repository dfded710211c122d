"""What the Jobs page shows: its headline, filters and one page of rows."""

from __future__ import annotations

from typing import Any

from django.db.models import Count, Q
from django.utils import timezone

from apps.accounts.models import User
from apps.accounts.paging import cut_page, whole_number
from apps.jobs.models import Job, JobKind
from apps.jobs.presentation import open_attempt, reason_sentence, state_word
from apps.jobs.querysets import JobQuerySet
from apps.jobs.services import engines_for
from apps.jobs.states import ACTIVE, RETRYABLE

PAGE_SIZE = 50
FILTERS: dict[str, tuple[str, Q]] = {
    "all": ("All", Q()),
    "active": ("Running", Q(status__in=ACTIVE)),
    "waiting": ("Waiting", Q(status__in=["queued", "held"])),
    "failed": ("Failed", Q(status="failed")),
    "done": ("Done", Q(status__in=["succeeded", "cancelled"])),
}


def job_list(user: User, *, show: str, kind: str, cursor: str) -> dict[str, Any]:
    """The template's context. An unknown filter shows everything; a foreign cursor the first page."""
    show = show if show in FILTERS else "all"
    visible: JobQuerySet = Job.objects.visible_to(user)
    rows = visible.filter(FILTERS[show][1]).for_display().order_by("-pk")
    if kind in JobKind.values:
        rows = rows.filter(kind=kind)
    if (before := whole_number(cursor)) is not None:
        rows = rows.filter(pk__lt=before)
    found, following = cut_page(rows, PAGE_SIZE)
    return {
        "headline": _headline(visible),
        "rows": [job_row(job) for job in found],
        "next": following,
        "show": show,
        "kind": kind,
        "filters": [(key, title) for key, (title, _) in FILTERS.items()],
        "kinds": [(value, label) for value, label in JobKind.choices if engines_for(value)],
        "is_moving": any(not job.is_over for job in found),
    }


def _headline(visible: JobQuerySet) -> str:
    counts = visible.open().aggregate(
        running=Count("pk", filter=Q(status__in=ACTIVE)),
        waiting=Count("pk", filter=Q(status="queued")),
        held=Count("pk", filter=Q(status="held")),
    )
    parts = [f"{counts[word]} {word}" for word in ("running", "waiting", "held") if counts[word]]
    return ", ".join(parts) or "Nothing runs now"


def job_row(job: Job) -> dict[str, Any]:
    """One job as a table row or list item shows it."""
    attempt = open_attempt(job) or next(iter(job.attempts.all()), None)
    return {
        "job": job,
        "state": state_word(job),
        "host": attempt.host.name if attempt else "",
        "reason": reason_sentence(job),
        "elapsed_seconds": _elapsed(job),
        "can_retry": job.status in RETRYABLE,
        "can_cancel": not job.is_over and job.status != "cancelling",
    }


def _elapsed(job: Job) -> float | None:
    if job.started_at is None:
        return None
    return ((job.finished_at or timezone.now()) - job.started_at).total_seconds()
