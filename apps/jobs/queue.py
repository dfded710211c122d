"""The jobs that wait, as the scheduler sees them: one query for all, one more for what they wait for."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from django.db.models import Case, F, Q, When
from django.db.models.fields.json import KT

from apps.engines.registry import ENGINES, get_engine
from apps.jobs.models import Job
from apps.jobs.preparations import PREPARING
from apps.jobs.states import JobStatus
from apps.planning.placement import Need

NEEDS_NO_DEVICE = ("install", "download", "tokenise")
FILLERS = ("evaluate", "benchmark")  # they use GPUs that are idle, and make room for servers


@dataclass(slots=True)
class WaitingJob:
    pk: int
    name: str
    kind: str
    team_id: int
    team: str
    priority: int
    need: Need
    ram_bytes: int
    files: tuple[str, str, str | None]  # engine, variant, model version: what must lie on the host first
    created_at: datetime
    seconds: int | None  # the longest it may work
    prepared_on: str | None  # the host it prefers
    wait_reason: str
    wait_hint: str
    expected_start_at: datetime | None

    @property
    def label(self) -> str:
        return f"{Job.id_prefix}-{self.pk}"

    @property
    def place_in_line(self) -> tuple[int, bool, int]:
        """Priority, then work before what only fills idle GPUs, then age."""
        return -self.priority, self.kind in FILLERS and self.need.gpus > 0, self.pk


_AS_THEY_ARE = ["pk", "name", "kind", "team_id", "priority", "created_at", "wait_reason", "wait_hint"]
_AS_THEY_ARE += ["expected_start_at"]
_COLUMNS = [*_AS_THEY_ARE, "team__name", "gpus_needed", "vram_bytes_needed", "spread", "ram_bytes_needed"]
_COLUMNS += ["pinned_host__name", "prepared_on__name", "engine", "variant", "version", "time_limit_seconds"]
_COLUMNS += ["gpu_share_needed"]


def waiting_jobs(only: Q | None = None) -> list[WaitingJob]:
    """Every job that waits, in the order in which they are looked at."""
    rows = Job.objects.waiting().filter(only or Q()).annotate(version=KT("spec__model__version_id"))
    jobs = [_waiting_job(dict(zip(_COLUMNS, row, strict=True))) for row in rows.order_by().values_list(*_COLUMNS)]
    return sorted(jobs, key=lambda job: job.place_in_line)


def _waiting_job(row: dict[str, Any]) -> WaitingJob:
    need = need_of(
        kind=row["kind"],
        gpus=row["gpus_needed"],
        vram_bytes=row["vram_bytes_needed"],
        gpu_share=row["gpu_share_needed"],
        ram_bytes=row["ram_bytes_needed"],
        host=row["pinned_host__name"],
        spread=row["spread"],
        engine=row["engine"],
        variant=row["variant"],
    )
    return WaitingJob(
        **{name: row[name] for name in _AS_THEY_ARE},
        team=row["team__name"],
        need=need,
        ram_bytes=row["ram_bytes_needed"],
        files=(row["engine"], row["variant"], row["version"]),
        seconds=row["time_limit_seconds"],
        prepared_on=row["prepared_on__name"],
    )


@dataclass(frozen=True, slots=True)
class Stand:
    """Where a job stands in the line; `near` are those around it and itself."""

    place: int
    length: int
    near: list[WaitingJob]


def stand_of(job: Job, *, neighbours: int) -> Stand | None:
    """None for a job that is not looked at now, such as one that backs off. Counts in the database."""
    filler = Case(When(kind__in=FILLERS, gpus_needed__gt=0, then=1), default=0)
    line = Job.objects.waiting().annotate(filler=filler)
    own = line.filter(pk=job.pk).values_list("priority", "filler", "pk").first()
    if own is None:
        return None
    priority, fills, pk = own
    same = Q(priority=priority)
    before = line.filter(
        Q(priority__gt=priority) | same & Q(filler__lt=fills) | same & Q(filler=fills, pk__lt=pk)
    ).order_by("priority", "-filler", "-pk")
    behind = line.filter(
        Q(priority__lt=priority) | same & Q(filler__gt=fills) | same & Q(filler=fills, pk__gt=pk)
    ).order_by("-priority", "filler", "pk")
    near = [pk, *(row for side in (before, behind) for row in side.values_list("pk", flat=True)[:neighbours])]
    return Stand(before.count() + 1, line.count(), waiting_jobs(Q(pk__in=near)))


def need_of_job(job: Job) -> Need:
    return need_of(
        kind=job.kind,
        gpus=job.gpus_needed,
        vram_bytes=job.vram_bytes_needed,
        gpu_share=job.gpu_share_needed,
        ram_bytes=job.ram_bytes_needed,
        host=job.pinned_host.name if job.pinned_host else None,
        spread=job.spread,
        engine=job.engine,
        variant=job.variant,
    )


@lru_cache(10_000)
def need_of(
    *,
    kind: str,
    gpus: int,
    vram_bytes: int,
    gpu_share: float,
    ram_bytes: int,
    host: str | None,
    spread: bool,
    engine: str,
    variant: str,
) -> Need:
    """A job on GPUs reserves no RAM; one that only fetches or installs reserves nothing."""
    no_ram = gpus > 0 or kind in NEEDS_NO_DEVICE
    name = get_engine(engine).environment if engine in ENGINES else None
    environment = (name, variant) if name else None
    return Need(
        ram_bytes=0 if no_ram else ram_bytes,
        gpus=gpus,
        vram_bytes=vram_bytes if gpus else 0,
        gpu_share=gpu_share if gpus else 0.0,
        host=host,
        spread=spread,
        environment=environment,
    )


class Predecessor(NamedTuple):
    label: str
    name: str
    status: str
    prepares: str | None  # the host on which it makes things ready; None for what was there before a host was chosen

    @property
    def has_failed(self) -> bool:
        return self.status in (JobStatus.FAILED, JobStatus.CANCELLED)


def unfinished_predecessors() -> dict[int, list[Predecessor]]:
    """Waiting job -> each job before it that has not succeeded."""
    links = Job.after.through._default_manager.filter(from_job__status="queued").exclude(to_job__status="succeeded")
    is_preparation = Q(to_job__kind__in=PREPARING, to_job__pinned_host=F("from_job__prepared_on"))
    links = links.annotate(prepares=Case(When(is_preparation, then=F("to_job__pinned_host__name"))))
    found: dict[int, list[Predecessor]] = defaultdict(list)
    columns = ("from_job_id", "to_job_id", "to_job__name", "to_job__status", "prepares")
    for waiting, other, name, status, prepares in links.order_by("to_job_id").values_list(*columns):
        found[waiting].append(Predecessor(f"{Job.id_prefix}-{other}", name, status, prepares))
    return found
