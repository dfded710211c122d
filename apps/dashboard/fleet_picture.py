"""The fleet as a picture: one well per device, filled by what is held or used, and by whom."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import Prefetch
from django.urls import reverse
from django.utils import timezone

from apps.accounts.models import User
from apps.dashboard.words import gib, gpu_name
from apps.fleet.host_states import HostState
from apps.fleet.models import Device, Host, HostLoad, Reservation
from apps.fleet.querysets import hosts_with_devices, latest_samples, live_reservations
from apps.jobs.models import Attempt, Job
from apps.jobs.presentation import state_word
from apps.serving.models import Endpoint, Replica

FOREIGN_PERCENT = 5.0  # a driver keeps a little for itself
SEGMENT_OF_KIND = {"serve": "", "train": "act", "evaluate": "kv"}


@dataclass(frozen=True)
class Holder:
    """Who holds a share of a device. Another team's job shows neither name nor address."""

    name: str
    url: str
    state: str
    owner: str
    since: datetime
    ram_bytes: int
    kind: str

    @property
    def word(self) -> str:
        """Beside a device, an endpoint's replica at work is Serving."""
        return "Serving" if self.state == "Live" else self.state

    @property
    def seconds(self) -> float:
        return (timezone.now() - self.since).total_seconds()


@dataclass
class Well:
    device: Device
    title: str  # e.g. atlas GPU 3
    used_bytes: int  # reserved RAM on a CPU, memory in use on a GPU
    load_percent: float | None
    load: dict[str, Any]  # the GPU's last telemetry, empty without one
    holders: list[Holder]
    is_off: bool  # its host takes no new work, or cannot be asked
    is_silent: bool

    @property
    def percent(self) -> float:
        return min(100.0, 100 * self.used_bytes / self.device.memory_bytes) if self.device.memory_bytes else 0.0

    @property
    def parts(self) -> list[tuple[str, float]]:
        """(class of the segment, share of the well in percent); only numbers enter a style."""
        if self.is_silent:
            return []
        if not self.is_cpu:
            kind = SEGMENT_OF_KIND.get(self.holders[0].kind, "opt") if self.holders else "ovh"
            return [(kind, round(self.percent, 1))] if self.percent else []
        total = self.device.memory_bytes or 1
        return [
            (SEGMENT_OF_KIND.get(holder.kind, "opt"), round(100 * holder.ram_bytes / total, 1))
            for holder in self.holders
        ]

    @property
    def is_cpu(self) -> bool:
        return self.device.kind == Device.Kind.CPU

    @property
    def short_title(self) -> str:
        return "CPU" if self.is_cpu else f"GPU {self.device.index}"

    @property
    def is_foreign(self) -> bool:
        """Memory of a GPU is in use although no job holds it: a process that Stackweb did not start."""
        return not self.is_cpu and not self.holders and not self.is_off and self.percent >= FOREIGN_PERCENT

    @property
    def load_fraction(self) -> float:
        return (self.load_percent or 0.0) / 100

    @property
    def load_label(self) -> str:
        return f"Load of {self.title}"

    @property
    def holders_or_none(self) -> list[Holder | None]:
        """One table row each; a device that nobody holds has one row too."""
        return list(self.holders) or [None]

    @property
    def is_free(self) -> bool:
        """A GPU that nobody holds, or a CPU with memory left."""
        if not self.is_cpu:
            return not self.holders and not self.is_off and not self.is_foreign
        return self.free_bytes > 0 and not self.is_off

    @property
    def free_bytes(self) -> int:
        return max(0, self.device.capacity_bytes - self.used_bytes)

    @property
    def spoken(self) -> str:
        names = ", ".join(holder.name for holder in self.holders) or ("off" if self.is_off else "free")
        if self.used_bytes and not self.holders and not self.is_off:
            names = "held by no job, yet its memory is used"
        load = "" if self.load_percent is None else f", load {self.load_percent:.0f}%"
        return f"{self.title}: {names}{load}, {gib(self.used_bytes)} of {gib(self.device.memory_bytes)}"


@dataclass
class HostPicture:
    host: Host
    sample: HostLoad | None
    wells: list[Well] = field(default_factory=list)

    @property
    def gpus(self) -> list[Well]:
        return [well for well in self.wells if well.device.kind == Device.Kind.GPU]

    @property
    def shown_wells(self) -> list[Well]:
        """GPUs, or the CPU of a host without any."""
        return self.gpus or self.wells

    @property
    def table_wells(self) -> list[Well]:
        """GPUs, and the CPU where it is used or all there is. A host that is gone has nothing to show."""
        if self.host.state.is_gone:
            return []
        return [well for well in self.wells if not well.is_cpu or well.holders or not self.gpus]

    @property
    def power_w(self) -> float | None:
        """Of its GPUs together, where they report it."""
        known = [float(well.load["power_w"]) for well in self.gpus if well.load.get("power_w") is not None]
        return sum(known) if known and not self.host.is_silent and not self.host.state.is_gone else None

    @property
    def driver(self) -> str:
        return next((well.device.driver for well in self.gpus), "")

    @property
    def state(self) -> str:
        return self.host.state.word

    @property
    def hardware(self) -> str:
        """`8 × H100`, or the number of cores of a host without GPUs."""
        names = [gpu_name(well.device.name) for well in self.gpus]
        kinds = [f"{names.count(name)} × {name}" for name in dict.fromkeys(names)]
        return ", ".join(kinds) or f"{self.host.cpu_count} cores"


def fleet_picture(user: User, *, only: Host | None = None) -> list[HostPicture]:
    """Every host by name, or one alone, in a fixed number of queries."""
    hosts = hosts_with_devices(only=only)
    samples = latest_samples(hosts)
    reservations = live_reservations(only=only)
    holders = _holders(user, reservations)
    pictures = []
    for host in hosts:
        picture = HostPicture(host, samples.get(host.pk))
        picture.wells = [
            _well(host, device, picture.sample, holders.get(device.pk, [])) for device in host.devices.all()
        ]
        pictures.append(picture)
    return pictures


def _well(host: Host, device: Device, sample: HostLoad | None, holders: list[Holder]) -> Well:
    is_off = host.state is not HostState.CONNECTED
    if device.kind == Device.Kind.CPU:
        used = sum(holder.ram_bytes for holder in holders)
        load = sample.cpu_percent if sample else None
        return Well(device, f"{host.name} CPU", used, load, {}, holders, is_off, host.is_silent)
    seen: dict[str, Any] = next((gpu for gpu in sample.gpus if gpu["uuid"] == device.uuid), {}) if sample else {}
    title = f"{host.name} GPU {device.index}"
    used = seen.get("memory_used_bytes") or 0
    return Well(device, title, used, seen.get("util_percent"), seen, holders, is_off, host.is_silent)


def _holders(user: User, reservations: Iterable[Reservation]) -> dict[int, list[Holder]]:
    """Holders of each device, by the device's primary key."""
    rows = list(reservations)
    lean = Attempt.objects.defer("ran", "measurements", "cause")
    attempts = {attempt.uuid: attempt for attempt in lean.filter(uuid__in={row.holder for row in rows})}
    named = Job.objects.filter(pk__in={attempt.job_id for attempt in attempts.values()}).select_related("created_by")
    named = named.defer("spec", "preview", "result", "cause").prefetch_related(Prefetch("attempts", lean.open()))
    jobs = {job.pk: job for job in named}
    replicas = Replica.objects.filter(job__in=jobs).select_related("endpoint")
    endpoints = {replica.job_id: replica.endpoint for replica in replicas}
    teams = set(user.memberships.values_list("team_id", flat=True))
    found: dict[int, list[Holder]] = {}
    for row in rows:
        job = _job_of(row.holder, attempts, jobs)
        holder = _holder(row, job, endpoints.get(job.pk) if job else None, user.is_superuser, teams)
        found.setdefault(row.device_id, []).append(holder)
    return found


def _job_of(holder: uuid.UUID, attempts: dict[uuid.UUID, Attempt], jobs: dict[int, Job]) -> Job | None:
    attempt = attempts.get(holder)
    return jobs.get(attempt.job_id) if attempt else None


def _holder(row: Reservation, job: Job | None, endpoint: Endpoint | None, sees_all: bool, teams: set[int]) -> Holder:
    """An endpoint's replica stands under the endpoint's name; other kinds' own pages would cost a query each."""
    if job is None or not (sees_all or job.team_id in teams):
        return Holder("another team", "", "Running", "", row.created_at, row.ram_bytes, "other")
    return Holder(
        name=endpoint.name if endpoint else job.name,
        url=reverse("endpoint", args=[endpoint.public_id]) if endpoint else reverse("job", args=[job.public_id]),
        state=state_word(job),
        owner=str(job.created_by or "Stackweb"),
        since=row.created_at,
        ram_bytes=row.ram_bytes,
        kind=job.kind,
    )
