"""What a team may use: GPUs at once, looked at when a job is placed, and GPU-hours a month, looked at when
it is asked for and again when it is placed.

GPU-hours are the attempts' own times: from claim to end, times the GPUs held, in this month. A job reserves
its time limit when it is asked for, or an hour on each GPU without one, and what it did not use is free
again when it ends. The CPU counts for nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import TypedDict, Unpack

from django.db import connection, transaction
from django.db.models import Sum
from django.db.models.expressions import Func
from django.db.models.fields import IntegerField
from django.utils import timezone

from apps.accounts.access import require_server_admin
from apps.accounts.audit import audit
from apps.accounts.models import Team, User
from apps.accounts.problems import Problem, invalid
from apps.jobs.models import Attempt
from apps.planning.placement import gpu_count

MAX_GPUS, MAX_GPU_HOURS = 100_000, 100_000_000
WITHOUT_LIMIT_SECONDS = 3600  # reserved by a job that names no time limit; past it only what it used counts

_USED = """
SELECT job.team_id, SUM(jsonb_array_length(attempt.device_indexes)
    * EXTRACT(epoch FROM COALESCE(attempt.ended_at, %(now)s) - GREATEST(attempt.claimed_at, %(since)s)))
FROM jobs_attempt attempt JOIN jobs_job job ON job.id = attempt.job_id
WHERE (attempt.ended_at IS NULL OR attempt.ended_at > %(since)s) AND attempt.claimed_at < %(now)s
    AND job.team_id = ANY(%(teams)s)
GROUP BY job.team_id
"""
_EXPECTED = """
SELECT SUM(job.gpus_needed * GREATEST(0, COALESCE(job.time_limit_seconds, %(without_limit)s)
    - COALESCE(EXTRACT(epoch FROM %(now)s - attempt.claimed_at), 0)))
FROM jobs_job job LEFT JOIN jobs_attempt attempt ON attempt.job_id = job.id AND attempt.ended_at IS NULL
WHERE job.finished_at IS NULL AND job.status <> 'held' AND job.team_id = %(team)s
"""


@dataclass(frozen=True, slots=True)
class Usage:
    """Of one team, now; GPU-hours of this month. `expected_gpu_hours` are reserved by open jobs."""

    gpus: int
    gpu_hours: float
    expected_gpu_hours: float


def month_start(now: datetime) -> datetime:
    return timezone.localtime(now).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def next_month(now: datetime) -> datetime:
    first = month_start(now)
    return first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)


def gpus_held(teams: Collection[int]) -> dict[int, int]:
    """Team -> GPUs that its open attempts hold."""
    count = Func("device_indexes", function="jsonb_array_length", output_field=IntegerField())
    rows = Attempt.objects.open().filter(job__team__in=teams).values_list("job__team_id").annotate(held=Sum(count))
    return dict(rows.order_by())


def gpu_seconds_used(teams: Collection[int], now: datetime) -> dict[int, float]:
    """Team -> GPU-seconds of this month."""
    with connection.cursor() as cursor:
        cursor.execute(_USED, {"now": now, "since": month_start(now), "teams": list(teams)})
        return {team: float(seconds) for team, seconds in cursor.fetchall()}


def usage_of(team: Team, now: datetime) -> Usage:
    with connection.cursor() as cursor:
        cursor.execute(_EXPECTED, {"now": now, "team": team.pk, "without_limit": WITHOUT_LIMIT_SECONDS})
        expected = float(cursor.fetchone()[0] or 0)
    used = gpu_seconds_used([team.pk], now).get(team.pk, 0.0)
    return Usage(gpus_held([team.pk]).get(team.pk, 0), used / 3600, expected / 3600)


def require_gpu_hours(*, team: Team, gpus: int, time_limit_seconds: int | None) -> None:
    """Raises Problem 403 with the figures where the month's GPU-hours do not suffice.

    Call it in the transaction that makes the job: of several at the same moment each sees those before it.
    """
    if not gpus or Team.objects.filter(pk=team.pk, gpu_hours_per_month=None).exists():
        return
    quota = Team.objects.select_for_update(no_key=True).get(pk=team.pk).gpu_hours_per_month
    if quota is None:
        return
    now = timezone.now()
    usage = usage_of(team, now)
    asked = gpus * (time_limit_seconds or WITHOUT_LIMIT_SECONDS) / 3600
    spoken_for = usage.gpu_hours + usage.expected_gpu_hours
    if spoken_for + asked <= quota and spoken_for < quota:
        return
    detail = (
        f"{team} may use {quota} GPU-hours a month: {usage.gpu_hours:.1f} are used and "
        f"{usage.expected_gpu_hours:.1f} reserved by open jobs; "
        f"this job asks for {asked:.1f}, {_how(time_limit_seconds)}. "
        f"The month ends on {next_month(now):%d %b}; an admin can raise the quota in Settings."
    )
    figures = {
        "quota_gpu_hours": quota,
        "used_gpu_hours": round(usage.gpu_hours, 3),
        "reserved_gpu_hours": round(usage.expected_gpu_hours, 3),
        "asked_gpu_hours": round(asked, 3),
    }
    raise Problem(403, "Quota used up", detail, extra={"reason": "quota_exceeded"} | figures)


def _how(time_limit_seconds: int | None) -> str:
    if time_limit_seconds:
        return "its time limit on each GPU"
    return "an hour on each GPU as it has no time limit"


@dataclass(slots=True)
class TeamLimits:
    """The quotas of the teams that have one, and what they use, as a sweep keeps it up to date."""

    teams: dict[int, Team]
    held: dict[int, int]
    seconds: dict[int, float]

    def refusal(self, team_id: int, gpus: int) -> str:
        """Why a job of this team may not have its GPUs now; empty where it may."""
        team = self.teams.get(team_id)
        if team is None or not gpus:
            return ""
        held, most = self.held.get(team_id, 0), team.gpus_at_once
        if most is not None and held + gpus > most:
            return f"Team {team} holds {held} of {gpu_count(most)} that it may hold at once; this job needs {gpus}."
        used, hours = self.seconds.get(team_id, 0.0) / 3600, team.gpu_hours_per_month
        if hours is not None and used >= hours:
            return f"Team {team} has used {used:.0f} of its {hours} GPU-hours this month."
        return ""

    def is_out_of_hours(self, team_id: int) -> bool:
        team = self.teams.get(team_id)
        hours = team.gpu_hours_per_month if team else None
        return hours is not None and self.seconds.get(team_id, 0.0) >= hours * 3600

    def note_placed(self, team_id: int, gpus: int) -> None:
        self.held[team_id] = self.held.get(team_id, 0) + gpus


def team_limits(team_ids: Collection[int], now: datetime, *, lock: bool = False) -> TeamLimits:
    """With `lock`, nobody else places or submits for these teams until the transaction ends."""
    limited = Team.objects.filter(pk__in=team_ids).exclude(gpus_at_once=None, gpu_hours_per_month=None)
    if lock:
        limited = limited.select_for_update(no_key=True)
    teams = {team.pk: team for team in limited}
    by_hours = [pk for pk, team in teams.items() if team.gpu_hours_per_month is not None]
    return TeamLimits(
        teams,
        gpus_held(teams) if teams else {},
        gpu_seconds_used(by_hours, now) if by_hours else {},
    )


class Limits(TypedDict, total=False):
    gpus_at_once: int | None
    gpu_hours_per_month: int | None


@transaction.atomic
def set_quota(*, team: Team, user: User, **limits: Unpack[Limits]) -> Team:
    """None means no limit; one that is not named stays. What runs goes on.

    Raises Problem 403 for other than admins, 422 for a wrong number.
    """
    require_server_admin(user)
    team = Team.objects.select_for_update(no_key=True).get(pk=team.pk)
    before: Limits = {"gpus_at_once": team.gpus_at_once, "gpu_hours_per_month": team.gpu_hours_per_month}
    after: Limits = {**before, **limits}
    team.gpus_at_once = _checked("gpus_at_once", after["gpus_at_once"], MAX_GPUS)
    team.gpu_hours_per_month = _checked("gpu_hours_per_month", after["gpu_hours_per_month"], MAX_GPU_HOURS)
    team.save(update_fields=["gpus_at_once", "gpu_hours_per_month"])
    detail = {"before": before, "after": after}
    audit(user, "team.quota_set", object_id=team.slug, object_name=team.name, team=team, detail=detail)
    return team


def _checked(name: str, value: int | None, most: int) -> int | None:
    if value is not None and not 0 <= value <= most:
        raise invalid(name, f"{name} must be from 0 to {most}, or empty for no limit.", value=value)
    return value
