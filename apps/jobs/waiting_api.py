"""REST: why a job waits, and what a team may use at once and in a month."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from django.utils import timezone
from ninja import Router, Schema

from apps.accounts.access import team_or_404
from apps.accounts.models import Team
from apps.accounts.problems import conflict
from apps.accounts.rest import signed_in
from apps.jobs.lookups import visible_job
from apps.jobs.models import Job
from apps.jobs.quotas import set_quota, usage_of
from apps.jobs.waiting import why_waiting

router = Router(tags=["jobs"])


class WaitingHostOut(Schema):
    host: str
    offers: str
    needs: str  # of each GPU, or of RAM, beside what is there
    blocked_by: str
    can_ever: bool
    is_free: bool
    free_at: datetime | None  # estimated


class NeighbourOut(Schema):
    id: str | None  # null: a job that you may not see
    name: str
    is_this: bool
    gpus: int
    priority: int
    expected_start_at: datetime | None  # estimated


class WaitingOut(Schema):
    reason: str
    hint: str
    expected_start_at: datetime | None  # estimated; null while nobody can say
    place: int | None
    length: int
    hosts: list[WaitingHostOut]
    neighbours: list[NeighbourOut]


class QuotaIn(Schema, extra="forbid"):
    """null means no limit; what is left out stays."""

    gpus_at_once: int | None = None
    gpu_hours_per_month: int | None = None


class QuotaOut(Schema):
    team: str
    gpus_at_once: int | None
    gpu_hours_per_month: int | None
    gpus_now: int
    gpu_hours_used: float
    gpu_hours_expected: float  # reserved by open jobs: their time limits, or an hour on each GPU


@router.get("/jobs/{job_id}/waiting", response=WaitingOut)
def get_waiting(request: HttpRequest, job_id: str) -> dict[str, Any]:
    """Why a queued job waits, host by host. 409 for one that does not wait."""
    job = visible_job(request, job_id)
    found = why_waiting(job, Job.objects.visible_to(signed_in(request)))
    if found is None:
        raise conflict(f"{job.public_id} does not wait; it is {job.get_status_display().lower()}.")
    return found


def _quota(team: Team) -> dict[str, Any]:
    used = usage_of(team, timezone.now())
    return {
        "team": team.slug,
        "gpus_at_once": team.gpus_at_once,
        "gpu_hours_per_month": team.gpu_hours_per_month,
        "gpus_now": used.gpus,
        "gpu_hours_used": used.gpu_hours,
        "gpu_hours_expected": used.expected_gpu_hours,
    }


@router.get("/teams/{team_slug}/quota", response=QuotaOut)
def get_quota(request: HttpRequest, team_slug: str) -> dict[str, Any]:
    return _quota(team_or_404(signed_in(request), team_slug))


@router.patch("/teams/{team_slug}/quota", response=QuotaOut)
def patch_quota(request: HttpRequest, team_slug: str, payload: QuotaIn) -> dict[str, Any]:
    """Sets the limits that it names; what runs goes on."""
    user, limits = signed_in(request), payload.model_dump(exclude_unset=True)
    return _quota(set_quota(team=team_or_404(user, team_slug), user=user, **limits))
