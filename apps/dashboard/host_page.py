"""Everything about one machine: what it is, who uses it, what an operator did to it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone

from apps.accounts.models import AuditEvent, User
from apps.dashboard.fleet_picture import HostPicture, fleet_picture
from apps.dashboard.words import count_of
from apps.fleet.host_states import HostState
from apps.fleet.models import RAM_KEPT_BYTES, Device, Host
from apps.jobs.job_list import job_row
from apps.jobs.models import Attempt, Job
from apps.jobs.presentation import state_word
from apps.jobs.querysets import JobQuerySet

RECENT, EVENTS = 20, 20
EVENT_WORDS = {
    "host.enrolled": "Joined",
    "host.cordoned": "Cordoned",
    "host.uncordoned": "Uncordoned",
    "host.drained": "Drain asked",
    "host.fenced": "Fenced",
    "host.removed": "Removed",
    "host.left": "Left",
    "host.priced": "Price set",
    "host.slots_set": "Slots set",
}


@dataclass(frozen=True)
class RunningRow:
    """An open attempt here. Another team's job is counted but not named."""

    job: Job | None
    attempt: Attempt
    state: str
    is_leaving: bool  # asked to stop, so that it runs elsewhere

    @property
    def seconds(self) -> float:
        return (timezone.now() - self.attempt.created_at).total_seconds()

    @property
    def where(self) -> str:
        indexes: list[int] = self.attempt.device_indexes
        return f"GPU {', '.join(map(str, indexes))}" if indexes else "CPU"


def host_facts(user: User, host: Host) -> dict[str, Any]:
    [picture] = fleet_picture(user, only=host)
    running = running_rows(user, host)
    return {
        "host": picture.host,
        "picture": picture,
        "sample": None if host.is_silent or host.state.is_gone else picture.sample,
        "lede": lede(picture.host, running),
        "running": running,
        "recent": [job_row(job) for job in recent_jobs(user, host)],
        "links": links_table(picture),
        "events": host_events(host),
        "currency": settings.CURRENCY,
        "price": "" if host.gpu_hour_price is None else f"{host.gpu_hour_price.normalize():f}",
        "ram_kept_bytes": RAM_KEPT_BYTES,
        "busy_count": sum(bool(well.holders) for well in picture.gpus),
        "disk_used_bytes": host.disk_total_bytes - host.disk_free_bytes,
        "may_fence_plainly": host.is_silent,
    }


def running_rows(user: User, host: Host) -> list[RunningRow]:
    attempts = list(Attempt.objects.open().filter(host=host).order_by("created_at"))
    jobs: JobQuerySet = Job.objects.visible_to(user)
    visible = {job.pk: job for job in jobs.filter(pk__in=[row.job_id for row in attempts]).for_display()}
    return [_running(row, visible.get(row.job_id)) for row in attempts]


def _running(attempt: Attempt, job: Job | None) -> RunningRow:
    state = state_word(job) if job else "Unknown" if attempt.is_unknown else "Running"
    return RunningRow(job, attempt, state, is_leaving=bool(attempt.stop_reason))


def recent_jobs(user: User, host: Host) -> list[Job]:
    """The last that ended here, as far as the person may see them."""
    ended = Attempt.objects.filter(host=host, ended_at__isnull=False).order_by("-created_at")
    newest = list(ended.values_list("job_id", flat=True)[: 5 * RECENT])  # some are another team's, or reruns
    jobs: JobQuerySet = Job.objects.visible_to(user).filter(pk__in=newest, finished_at__isnull=False)
    return sorted(jobs.for_display(), key=lambda job: newest.index(job.pk))[:RECENT]


def lede(host: Host, running: list[RunningRow]) -> str:
    """What the state means here and now, and what to do about it."""
    match host.state:
        case HostState.FENCED:
            return "Fenced: an operator said that it is off. It takes part again when it joins with a fresh token."
        case HostState.LEFT:
            return "Its worker said goodbye. It takes part again when it joins with a fresh token."
        case HostState.UNREACHABLE:
            return "It does not report. Jobs there may still run and keep their devices; if it is off, fence it."
        case HostState.DRAINING:
            return _draining(running)
        case HostState.CORDONED:
            return f"It takes no new work{_because(host)}. What runs here goes on."
    return f"It takes new work. {count_of(len(running), 'job')} {'runs' if len(running) == 1 else 'run'} here."


def _because(host: Host) -> str:
    return f": {host.cordon_reason}" if host.cordon_reason else ""


def _draining(running: list[RunningRow]) -> str:
    if not running:
        return "It is empty and may be switched off, or uncordoned."
    leaving = sum(row.is_leaving for row in running)
    ends = len(running) - leaving
    parts = [f"{leaving} asked to stop" if leaving else "", f"{ends} until done" if ends else ""]
    return f"Until it is empty: {count_of(len(running), 'job')}, {', '.join(filter(None, parts))}."


def links_table(picture: HostPicture) -> list[tuple[Device, list[str]]]:
    """(GPU, how it is joined to each GPU), empty where no link was reported."""
    gpus = [well.device for well in picture.gpus]
    if not any(gpu.links for gpu in gpus):
        return []
    words = {"nvlink": "NVLink", "pcie": "PCIe"}
    joined = {gpu.uuid: {link["uuid"]: words.get(link["kind"], link["kind"]) for link in gpu.links} for gpu in gpus}
    return [(gpu, ["" if gpu is other else joined[gpu.uuid].get(other.uuid, "–") for other in gpus]) for gpu in gpus]


def host_events(host: Host) -> list[dict[str, Any]]:
    """What operators and the host itself did, newest first, after it got its name."""
    since = host.created_at - timedelta(seconds=1)
    rows = AuditEvent.objects.filter(object_id=host.name, action__startswith="host.", at__gte=since)
    return [
        {"at": row.at, "what": EVENT_WORDS.get(row.action, row.action), "actor": row.actor_label}
        | {"detail": _said(row.detail)}
        for row in rows.order_by("-pk")[:EVENTS]
    ]


def _said(detail: dict[str, Any]) -> str:
    parts = []
    if detail.get("reason"):
        parts.append(str(detail["reason"]))
    if "gpu_hour_price" in detail:
        parts.append("the type's price" if detail["gpu_hour_price"] is None else f"{detail['gpu_hour_price']} an hour")
    if "slots" in detail:
        parts.append(f"{detail['device']}: {detail['before']} to {detail['slots']}")
    if detail.get("now"):
        parts.append("everything stopped at once")
    if detail.get("force"):
        parts.append("although it had just reported")
    return ", ".join(parts)
