"""What the Schedules page shows."""

from __future__ import annotations

from typing import Any

from django import forms
from django.db.models import Prefetch

from apps.accounts.access import has_role
from apps.accounts.models import Role, User
from apps.jobs.cron import time_zones, words
from apps.jobs.job_list import job_row
from apps.jobs.models import Job, Schedule
from apps.jobs.repeats import repeatable_kinds

MAX_ROWS = 200


class RepeatForm(forms.Form):
    name = forms.CharField(max_length=200, required=False, help_text="The job's own when empty.")
    cron = forms.CharField(
        label="When",
        max_length=100,
        initial="0 3 * * *",
        help_text="Minute, hour, day of month, month, day of week. “0 3 * * 1-5” is 03:00 on weekdays.",
    )
    zone = forms.ChoiceField(label="Time zone", choices=lambda: [(name, name) for name in time_zones()], initial="UTC")


def schedule_list(user: User) -> dict[str, Any]:
    """The template's context: the next one due first, those switched off last."""
    rows = Schedule.objects.visible_to(user).select_related("job", "team", "created_by")
    last = Prefetch(
        "jobs", Job.objects.for_display().order_by("schedule_id", "-pk").distinct("schedule_id"), "last_jobs"
    )
    found = list(rows.prefetch_related(last).order_by("-is_enabled", "next_run_at", "pk")[:MAX_ROWS])
    return {"rows": [_row(row) for row in found], "headline": _headline(found), "can_edit": has_role(user, Role.MEMBER)}


def _row(schedule: Any) -> dict[str, Any]:
    last = next(iter(schedule.last_jobs), None)
    return {"schedule": schedule, "words": words(schedule.cron), "last": job_row(last) if last else None}


def _headline(rows: list[Any]) -> str:
    on = sum(row.is_enabled for row in rows)
    if not rows:
        return "Nothing repeats yet"
    return f"{on} schedule{'' if on == 1 else 's'} on" + (f", {len(rows) - on} off" if on < len(rows) else "")


def repeatable_names() -> str:
    """The kinds of job that can be repeated, as a person reads them."""
    return ", ".join(kind.label.lower() for kind in repeatable_kinds())
