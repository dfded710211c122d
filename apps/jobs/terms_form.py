"""The part of every submission form that says when and how long the job may run."""

from __future__ import annotations

from typing import Any

from django import forms

from apps.accounts.models import User
from apps.jobs.models import Job, JobKind
from apps.jobs.policies import STALL_RANGE, TIME_LIMIT_RANGE
from apps.jobs.terms import MAX_PRIORITY, Terms

HOUR, MINUTE = 3600, 60


class TermsForm(forms.Form):
    """After `is_valid()`, call `terms()`. A server has no limits of time, so its form has no fields for them."""

    priority = forms.IntegerField(
        min_value=0, max_value=MAX_PRIORITY, initial=0, required=False, help_text=f"0 to {MAX_PRIORITY}, highest first"
    )
    after = forms.ModelChoiceField(
        queryset=Job.objects.none(),
        required=False,
        empty_label="nothing",
        label="Starts after",
        help_text="Once that job succeeded; if it fails, this one fails too.",
    )
    time_limit_hours = forms.FloatField(
        min_value=TIME_LIMIT_RANGE[0] / HOUR,
        max_value=TIME_LIMIT_RANGE[1] / HOUR,
        required=False,
        label="Time limit",
        help_text="Of each attempt. Empty: none.",
    )
    stall_minutes = forms.FloatField(
        min_value=STALL_RANGE[0] / MINUTE,
        max_value=STALL_RANGE[1] / MINUTE,
        required=False,
        label="Stalled after",
        help_text="Without progress. Empty: as usual for its kind.",
    )
    spread = forms.BooleanField(
        required=False,
        label="Spread",
        help_text="Takes the emptiest host that fits, not the fullest.",
    )

    def __init__(self, *args: Any, user: User, kind: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        open_jobs = Job.objects.visible_to(user).filter(finished_at=None).exclude(kind=JobKind.SERVE)
        self.fields["after"].queryset = open_jobs.order_by("-pk")  # type: ignore[attr-defined]
        self.fields["after"].label_from_instance = lambda job: f"{job.public_id}, {job.name}"  # type: ignore[attr-defined]
        self.fields["priority"].has_own_default = True  # type: ignore[attr-defined]
        for name, unit in (("time_limit_hours", "hours"), ("stall_minutes", "minutes")):
            self.fields[name].unit = unit  # type: ignore[attr-defined]
            if kind == JobKind.SERVE:
                del self.fields[name]

    def terms(self) -> Terms:
        given = self.cleaned_data
        return Terms(
            after=[given["after"]] if given["after"] else [],
            priority=given["priority"] or 0,
            time_limit_seconds=_seconds(given.get("time_limit_hours"), HOUR),
            stall_seconds=_seconds(given.get("stall_minutes"), MINUTE),
            spread=given["spread"],
        )


def _seconds(value: float | None, unit: int) -> int | None:
    return None if value is None else round(value * unit)
