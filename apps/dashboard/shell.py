"""Counts and load for the navigation of every page, in few and cheap queries."""

from __future__ import annotations

from typing import Any

from django.db.models import Count, Q

from apps.accounts.access import teams_of
from apps.accounts.models import User
from apps.fleet.host_states import HostState
from apps.fleet.models import Device, Host, Reservation
from apps.fleet.querysets import latest_samples
from apps.jobs.models import Job


def shell_facts(user: User) -> dict[str, Any]:
    """Badges by page name, the team's name, and the load pulse."""
    hosts = [host for host in Host.objects.order_by("name") if not host.state.is_gone]
    open_jobs = Job.objects.visible_to(user).open()
    badges = open_jobs.aggregate(
        endpoints=Count("pk", filter=Q(kind="serve")),
        fine_tunes=Count("pk", filter=Q(kind="train")),
        eval_runs=Count("pk", filter=Q(kind="evaluate")),
        jobs=Count("pk", filter=~Q(kind="serve")),  # as the Overview counts them
    )
    silent = sum(host.state is HostState.UNREACHABLE for host in hosts)
    teams = teams_of(user)
    return badges | {"team": teams[0].name if teams else "", "hardware": silent, **_pulse(hosts)}


def _pulse(hosts: list[Host]) -> dict[str, Any]:
    """One bar a GPU, or one a host where no host has a GPU; `off` where nothing is known."""
    samples = latest_samples(host for host in hosts if not host.is_silent)
    gpus = _gpus(hosts)
    load = {gpu["uuid"]: gpu.get("util_percent") for sample in samples.values() for gpu in sample.gpus}
    if gpus:
        return {
            "pulse": [_bar(load.get(uuid)) for uuid in gpus.values()],
            "pulse_title": "GPU load",
            "pulse_words": f"{_busy(gpus)}/{len(gpus)} busy",
        }
    known = [sample.cpu_percent for sample in samples.values()]
    return {
        "pulse": [_bar(samples[host.pk].cpu_percent if host.pk in samples else None) for host in hosts],
        "pulse_title": "CPU load",
        "pulse_words": f"{sum(known) / len(known):.0f}%" if known else "no report",
    }


def _bar(percent: float | None) -> dict[str, Any]:
    return {"value": percent or 0, "off": percent is None}


def _gpus(hosts: list[Host]) -> dict[int, str]:
    """Each one's UUID by its primary key, host by host."""
    present = Device.objects.filter(kind=Device.Kind.GPU, is_present=True, host__in=[host.pk for host in hosts])
    return dict(present.order_by("host__name", "index").values_list("pk", "uuid"))


def _busy(gpus: dict[int, str]) -> int:
    held = Reservation.objects.filter(released_at=None).values_list("device_id", flat=True)
    return len(gpus.keys() & set(held))
