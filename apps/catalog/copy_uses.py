"""Who uses the copies on a host, through whichever version of them a job names: itself, or an adapter on it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.db.models import Max, Q

from apps.catalog.models import LineageEdge, Location
from apps.fleet.models import Host
from apps.jobs.models import Attempt, Job

VERSION = "spec__model__version_id"


def jobs_using(host: Host, copies: Sequence[Location]) -> dict[int, list[Job]]:
    """By the copy's key: those that run on `host` with these files or wait for it."""
    loads = _copies_loaded(copies)
    here = Q(attempts__in=Attempt.objects.open().filter(host=host)) | Q(pinned_host=host) | Q(prepared_on=host)
    found = Job.objects.open().filter(here, **{f"{VERSION}__in": list(loads)}).distinct().order_by("pk")
    using: dict[int, list[Job]] = {copy.pk: [] for copy in copies}
    for job in found:
        for key in loads[job.spec["model"]["version_id"]]:
            using[key].append(job)
    return using


def last_uses(host: Host, copies: Sequence[Location]) -> dict[int, datetime]:
    """By the copy's key: when a job last ran on `host` with these files; absent where none did."""
    loads = _copies_loaded(copies)
    ran = Attempt.objects.filter(host=host, **{f"job__{VERSION}__in": list(loads)}).order_by()
    newest: dict[int, datetime] = {}
    for version_id, at in ran.values_list(f"job__{VERSION}").annotate(newest=Max("created_at")):
        for key in loads[version_id]:
            newest[key] = max(at, newest.get(key, at))
    return newest


def _copies_loaded(copies: Sequence[Location]) -> dict[str, list[int]]:
    """The ids by which a job's spec may ask for the copies, with the keys of those that each one loads."""
    held: dict[int, list[int]] = {}
    loads: dict[str, list[int]] = {}
    for copy in copies:
        version = copy.artifact.version
        held.setdefault(version.pk, []).append(copy.pk)
        loads.setdefault(version.public_id, []).append(copy.pk)
    adapters = LineageEdge.objects.filter(parent__in=held, relation=LineageEdge.Relation.ADAPTER)
    for edge in adapters.select_related("child").defer("child__facts"):
        loads.setdefault(edge.child.public_id, []).extend(held[edge.parent_id])
    return loads
