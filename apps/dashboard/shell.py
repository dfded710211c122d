"""Counts and load for the navigation of every page, in few and cheap queries."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from django.db.models import Count, Exists, OuterRef, Q

from apps.accounts.access import teams_of
from apps.accounts.models import User
from apps.fleet.host_states import HostState
from apps.fleet.models import Device, Host, Reservation
from apps.fleet.querysets import latest_samples
from apps.jobs.models import Job

MOST_BARS = 48  # in a sidebar of 200 pixels; a larger fleet shows its hosts


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
    """One bar a GPU, or one a host where no host has a GPU or there are too many; `off` where nothing is known."""
    samples = latest_samples(host for host in hosts if not host.is_silent)
    gpus = _gpus(hosts)
    if gpus:
        load = {gpu["uuid"]: gpu.get("util_percent") for sample in samples.values() for gpu in sample.gpus}
        by_host: dict[int, list[float | None]] = {}
        for gpu in gpus:
            by_host.setdefault(gpu.host_id, []).append(load.get(gpu.uuid))
        loads = [each for bars in by_host.values() for each in bars]
        if len(loads) > MOST_BARS:
            loads = [_mean(bars) for bars in by_host.values()]
        return {
            "pulse": _bars(loads),
            "pulse_title": "GPU load",
            "pulse_words": f"{sum(gpu.is_held for gpu in gpus)}/{len(gpus)} busy",
        }
    known = [sample.cpu_percent for sample in samples.values()]
    return {
        "pulse": _bars([samples[host.pk].cpu_percent if host.pk in samples else None for host in hosts]),
        "pulse_title": "CPU load",
        "pulse_words": f"{sum(known) / len(known):.0f}%" if known else "no report",
    }


def _bars(loads: list[float | None]) -> list[dict[str, Any]]:
    """Neighbours share a bar where there are too many."""
    together = math.ceil(len(loads) / MOST_BARS) or 1
    return [_bar(_mean(loads[first : first + together])) for first in range(0, len(loads), together)]


def _bar(percent: float | None) -> dict[str, Any]:
    return {"value": round(percent or 0), "off": percent is None}


def _mean(percents: list[float | None]) -> float | None:
    """Of those that are known."""
    known = [each for each in percents if each is not None]
    return sum(known) / len(known) if known else None


class _Gpu(NamedTuple):
    host_id: int
    uuid: str
    is_held: bool


def _gpus(hosts: list[Host]) -> list[_Gpu]:
    """Host by host, each host's in their order."""
    present = Device.objects.filter(kind=Device.Kind.GPU, is_present=True, host__in=[host.pk for host in hosts])
    held = Exists(Reservation.objects.filter(device=OuterRef("pk"), released_at=None))
    rows = present.annotate(is_held=held).order_by("host__name", "index")
    return list(map(_Gpu._make, rows.values_list("host_id", "uuid", "is_held")))
