"""Counts and load for the navigation of every page, in few and cheap queries."""

from __future__ import annotations

from typing import Any

from django.db.models import Count, Q

from apps.accounts.access import teams_of
from apps.accounts.models import User
from apps.fleet.models import Device, Host, Reservation
from apps.fleet.querysets import hosts_with_devices, latest_samples
from apps.jobs.models import Job


def shell_facts(user: User) -> dict[str, Any]:
    """Badges by page name, the team's name, and the load pulse."""
    hosts = hosts_with_devices()
    open_jobs = Job.objects.visible_to(user).open()
    badges = open_jobs.aggregate(
        endpoints=Count("pk", filter=Q(kind="serve")),
        fine_tunes=Count("pk", filter=Q(kind="train")),
        eval_runs=Count("pk", filter=Q(kind="evaluate")),
        jobs=Count("pk"),
        held=Count("pk", filter=Q(status="held")),
    )
    teams = teams_of(user)
    return badges | {
        "team": teams[0].name if teams else "",
        "silent_hosts": sum(host.is_silent for host in hosts),
        **_pulse(hosts),
    }


def _pulse(hosts: list[Host]) -> dict[str, Any]:
    """One bar a GPU, or one a host where no host has a GPU. `percent` None: nothing known."""
    samples = latest_samples(hosts)
    has_gpus = any(device.kind == Device.Kind.GPU for host in hosts for device in host.devices.all())
    bars: list[dict[str, Any]] = []
    for host in hosts:
        sample = None if host.is_silent else samples.get(host.pk)
        if not has_gpus:
            bars.append({"percent": sample.cpu_percent if sample else None})
            continue
        load = {gpu["uuid"]: gpu.get("util_percent") for gpu in sample.gpus} if sample else {}
        gpus = [device for device in host.devices.all() if device.kind == Device.Kind.GPU]
        if bars and gpus:
            bars.append({"is_gap": True})
        bars += [{"percent": load.get(device.uuid)} for device in gpus]
    return {"pulse": bars, "pulse_title": "GPU load" if has_gpus else "CPU load", "pulse_word": _word(hosts, bars)}


def _word(hosts: list[Host], bars: list[dict[str, Any]]) -> str:
    gpus = [device.pk for host in hosts for device in host.devices.all() if device.kind == Device.Kind.GPU]
    if gpus:
        held = Reservation.objects.filter(released_at=None, device__in=gpus).values("device").distinct()
        return f"{held.count()}/{len(gpus)} busy"
    known = [bar["percent"] for bar in bars if bar["percent"] is not None]
    return f"{sum(known) / len(known):.0f}%" if known else "no host"
