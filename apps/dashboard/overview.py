"""What the Overview says: is everything all right, and if not, what first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Q
from django.urls import reverse
from django.utils import timezone

from apps.accounts.access import has_role
from apps.accounts.models import Role, User
from apps.dashboard.fleet_picture import HostPicture, fleet_picture
from apps.dashboard.hardware import load_figures, members
from apps.dashboard.usage import usage_figures
from apps.dashboard.words import count_of, gib, listed
from apps.fleet.models import FleetAlert
from apps.fleet.querysets import open_alerts
from apps.gateway.endpoint_list import runs_on
from apps.gateway.usage import Figures, figures_of
from apps.jobs.job_list import job_row
from apps.jobs.models import Job
from apps.jobs.presentation import reason_sentence
from apps.jobs.reasons import Reason
from apps.jobs.states import ACTIVE
from apps.serving.models import Endpoint
from apps.serving.states import EndpointState, endpoint_state

ALERTS, ENDPOINTS, JOBS = 6, 8, 8


@dataclass(frozen=True)
class Alert:
    """One thing that needs a person, with the one action that helps."""

    tone: str  # warn | bad
    icon: str
    subject: str
    sentence: str
    at: datetime | None
    url: str
    action: str


@dataclass(frozen=True)
class EndpointRow:
    endpoint: Endpoint
    state: EndpointState
    figures: Figures

    @property
    def runs_on(self) -> str:
        return runs_on(self.state)


def overview_facts(user: User) -> dict[str, Any]:
    hosts = members(fleet_picture(user))
    endpoints = endpoint_rows(user)
    counts = _job_counts(user)
    return {
        "hosts": hosts,
        "alerts": alerts(user, hosts)[:ALERTS],
        "headline": headline(endpoints, hosts),
        "lede": lede(hosts, counts),
        "endpoints": endpoints[:ENDPOINTS],
        "live_count": sum(row.state.word == "Live" for row in endpoints),
        "jobs": [job_row(job) for job in _active_jobs(user)],
        "counts": counts,
        "may_act": has_role(user, Role.MEMBER),
        **load_figures(hosts),
        **usage_figures(user),
    }


def _active_jobs(user: User) -> list[Job]:
    return list(Job.objects.visible_to(user).open().batch().for_display().order_by("-pk")[:JOBS])


def _job_counts(user: User) -> dict[str, int]:
    batch = Job.objects.visible_to(user).open().batch()
    counted: dict[str, int] = batch.aggregate(
        running=Count("pk", filter=Q(status__in=ACTIVE)),
        waiting=Count("pk", filter=Q(status="queued")),
    )
    return counted


def endpoint_rows(user: User) -> list[EndpointRow]:
    """Endpoints that should run, by name, each in the state of its newest replica."""
    running = Endpoint.objects.visible_to(user).filter(wish=Endpoint.Wish.RUNNING)
    rows = list(running.with_newest_job().order_by("name"))
    figures = figures_of([row.pk for row in rows])
    return [EndpointRow(row, endpoint_state(row), figures[row.pk]) for row in rows]


def headline(endpoints: list[EndpointRow], hosts: list[HostPicture]) -> str:
    """The worst thing first; otherwise what is served."""
    live = [row for row in endpoints if row.state.word == "Live"]
    broken = [row for row in endpoints if row.state.word in ("Down", "Unknown", "Held")]
    silent = [host.host.name for host in hosts if host.state == "Unreachable"]
    if broken:
        down = count_of(len(broken), "endpoint")
        return f"Serving, with {down} down" if live else f"Nothing is served: {down} down"
    if silent:
        return f"{listed(silent)} {'does' if len(silent) == 1 else 'do'} not report"
    if live:
        return "Serving normally"
    if endpoints:
        return f"{count_of(len(endpoints), 'endpoint')} on the way"
    return "Nothing is served now"


def lede(hosts: list[HostPicture], counts: dict[str, int]) -> str:
    figures = load_figures(hosts)
    if figures["gpu_count"]:
        busy, total = figures["gpu_busy_count"], figures["gpu_count"]
        first = f"{busy} of {count_of(total, 'GPU')} busy."
    elif hosts and not figures["capacity_bytes"]:
        first = "No host reports now."
    elif hosts:
        first = f"{gib(figures['held_bytes'])} of {gib(figures['capacity_bytes'])} memory reserved."
    else:
        first = "No host is connected."
    running, waiting = counts["running"], counts["waiting"]
    verb = "runs" if running == 1 else "run"
    jobs = f"{count_of(running, 'job')} {verb}, {waiting} waiting." if running or waiting else "No job runs."
    return f"{first} {jobs}"


def alerts(user: User, hosts: list[HostPicture]) -> list[Alert]:
    """A frozen fleet or silent hosts, held jobs, and jobs that failed within a day; the newest first."""
    found = [_frozen(alert) for alert in open_alerts()]
    found = found or [_silent(host) for host in hosts if host.state == "Unreachable"]
    since = timezone.now() - timedelta(days=1)
    failed = Q(status="failed", finished_at__gt=since) & ~Q(reason=Reason.DEPENDENCY_FAILED)
    troubled = Job.objects.visible_to(user).filter(Q(status="held") | failed).for_display()
    return found + [_troubled(job) for job in troubled.order_by("-pk")[:ALERTS]]


def _frozen(alert: FleetAlert) -> Alert:
    return Alert(
        tone="bad",
        icon="unplug",
        subject=f"{alert.get_kind_display()}.",
        sentence=alert.text,
        at=alert.opened_at,
        url=reverse("hardware"),
        action="Open hardware",
    )


def _silent(picture: HostPicture) -> Alert:
    return Alert(
        tone="bad",
        icon="unplug",
        subject=picture.host.name,
        sentence="does not report. Jobs on it may still run; its figures are the last known ones.",
        at=picture.host.last_seen_at,
        url=reverse("hardware"),
        action="Open hardware",
    )


def _troubled(job: Job) -> Alert:
    is_held = job.status == "held"
    why = reason_sentence(job) or "It failed"
    cause = f": {job.cause[:160]}" if job.cause else "."
    return Alert(
        tone="warn" if is_held else "bad",
        icon="circle-pause" if is_held else "circle-x",
        subject=job.name,
        sentence=f"{'is held for you. ' if is_held else 'failed. '}{why}{cause}",
        at=job.finished_at or job.progress_at or job.created_at,
        url=reverse("job", args=[job.public_id]),
        action="Decide" if is_held else "Open",
    )
