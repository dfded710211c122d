"""Room on a host's disk for one more download, beside those that are under way to it."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import Q

from apps.accounts.models import User
from apps.accounts.problems import invalid
from apps.catalog.models import Location, ModelImport, ModelVersion
from apps.engines.sources import FETCHED, SPARE_BYTES
from apps.fleet.models import Host
from apps.jobs.models import Attempt, Job
from apps.jobs.states import JobStatus

Content = tuple[str, str, str, str]  # source, its name for the model, revision, variant


def content_of(version: ModelVersion) -> Content:
    return version.model.source, version.model.source_ref, version.revision, version.variant


def check_room(content: Content, size_bytes: int, host: Host, user: User, *, field: str) -> None:
    """Raises Problem 422 on `field` where the disk cannot hold that much once the other downloads are whole.

    The host keeps one folder for one content, so that what is there, or on its way, needs no room again; and of what
    ended on its way the host alone knows how much is missing.
    """
    if _was_begun(content, host):
        return
    others = _under_way(host)
    coming = sum(_bytes_to_come(each) for each in others.values())
    needed, free = size_bytes + SPARE_BYTES, host.disk_free_bytes
    if free - coming >= needed:
        return
    numbers = f"{host} needs {needed / 1e9:.1f} GB and has {free / 1e9:.1f} GB free"
    if coming:
        names = _names([each.job for each in others.values()], user)
        advice = f", of which {names} will take {coming / 1e9:.1f} GB. Wait for that, or delete models there."
    else:
        advice = ". Delete models there first."
    raise invalid(field, numbers + advice, value=host.name)


def _was_begun(content: Content, host: Host) -> bool:
    source, name, revision, variant = content
    imports = ModelImport.objects.filter(source=source, source_ref=name, revision=revision, variant=variant)
    whole = Location.objects.filter(
        host=host,
        artifact__version__model__source=source,
        artifact__version__model__source_ref=name,
        artifact__version__revision=revision,
        artifact__version__variant=variant,
    )
    on_it = Q(job__attempts__host=host) | Q(job__pinned_host=host)
    partly = imports.filter(on_it).exclude(job__status=JobStatus.SUCCEEDED)  # what is whole has its location, or went
    return partly.exists() or whole.exists()


def _under_way(host: Host) -> dict[Content, ModelImport]:
    """Downloads that are not over, one for each content."""
    on_it = Q(job__attempts__in=Attempt.objects.open().filter(host=host)) | Q(job__pinned_host=host)
    rows = ModelImport.objects.filter(on_it, job__finished_at=None, source__in=FETCHED).order_by("pk")
    found = rows.select_related("job", "version").prefetch_related("version__artifacts")
    return {(each.source, each.source_ref, each.revision, each.variant): each for each in found}


def _bytes_to_come(row: ModelImport) -> float:
    """What has arrived is no longer in the host's free bytes."""
    stored = row.version.artifacts.all() if row.version else ()
    size = row.facts.get("size_bytes") or sum(artifact.size_bytes for artifact in stored)
    return size * (1 - (row.job.progress_fraction or 0.0))


def _names(jobs: Iterable[Job], user: User) -> str:
    """The first five that the person may see; the others as a number."""
    asked = list(jobs)
    seen = list(Job.objects.visible_to(user).filter(pk__in=[job.pk for job in asked]).distinct().order_by("pk")[:5])
    unnamed = len(asked) - len(seen)
    others = [f"{unnamed} other download{'s' if unnamed > 1 else ''}"] if unnamed else []
    return ", ".join([*(f"{job.public_id} ({job.name})" for job in seen), *others])
