"""What people are asked before, and told after, a wish for many jobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.http import HttpRequest

from apps.accounts.models import User
from apps.accounts.paging import whole_number
from apps.jobs.bulk import MOST_JOBS, Outcome
from apps.jobs.job_list import job_row
from apps.jobs.models import Job

DONE = {"cancel": "asked to stop", "retry": "queued again"}
NAMED_REFUSALS = 5


def asked_of_many(request: HttpRequest) -> tuple[str, list[str]]:
    """(action, ids): of the ticked rows, or of the one row whose own button was pressed (`only`: "cancel job-12")."""
    action, _, only = request.POST.get("only", "").partition(" ")
    return (action, [only]) if only else (request.POST.get("action", ""), request.POST.getlist("job"))


def bulk_question(user: User, ids: Sequence[str]) -> dict[str, Any]:
    """The template's context: the jobs that a cancel would end."""
    numbers = [whole_number(each.removeprefix(f"{Job.id_prefix}-")) for each in ids[: MOST_JOBS + 1]]
    found = Job.objects.visible_to(user).filter(pk__in=[number for number in numbers if number is not None])
    return {"rows": [job_row(job) for job in found.for_display().order_by("-pk")]}


def say_outcomes(request: HttpRequest, action: str, outcomes: Sequence[Outcome]) -> None:
    refused = [each for each in outcomes if each.problem is not None]
    done = len(outcomes) - len(refused)
    if done:
        messages.success(request, f"{done} job{'s' if done > 1 else ''} {DONE[action]}.")
    if refused:
        told = " ".join(f"{each.id}: {each.problem}" for each in refused[:NAMED_REFUSALS])
        more = f" And {len(refused) - NAMED_REFUSALS} more." if len(refused) > NAMED_REFUSALS else ""
        messages.error(request, f"{len(refused)} of {len(outcomes)} refused. {told}{more}")
