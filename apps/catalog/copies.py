"""Copies of models on hosts: brought there before they are needed, and deleted when they are not."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction
from django.db.models import QuerySet

from apps.accounts.access import require_role
from apps.accounts.audit import audit
from apps.accounts.models import Role, User
from apps.accounts.problems import conflict, invalid
from apps.catalog.copy_uses import jobs_using
from apps.catalog.models import Artifact, Location, Model, ModelImport, ModelVersion
from apps.catalog.peers import givers
from apps.catalog.placement import needed_files
from apps.catalog.policies import code_rule
from apps.catalog.room import check_room, content_of
from apps.catalog.services import copy_version
from apps.engines.base import RunSpec
from apps.engines.sources import FETCHED
from apps.fleet.models import Host
from apps.jobs.kinds import CannotPrepare
from apps.jobs.models import Job, JobKind
from apps.jobs.services import submit_job


def bring_copies(*, version: ModelVersion, hosts: Sequence[Host], user: User) -> list[ModelImport]:
    """Starts bringing the version's files to each host, or returns what does so already.

    Raises Problem 403 for a role below member, 422 on `hosts` where one has them, lacks room, or cannot get them, and
    on `version` where its Python is no longer allowed.
    """
    require_role(user, Role.MEMBER, version.team)
    if not hosts:
        raise invalid("hosts", "Name a host to bring it to.")
    if version.has_code and (rule := code_rule(version, version.team)):
        raise invalid("version", rule, value=version.public_id)
    try:
        weights = needed_files(version).weights
    except CannotPrepare as problem:
        raise invalid("version", str(problem), value=version.public_id) from None
    if not _can_come(weights):
        message = (
            f"The files of {version} lie where they were found or made; nothing can fetch them elsewhere, "
            "and no host that has them lets its peers copy."
        )
        raise invalid("version", message, value=version.public_id)
    for host in hosts:
        _check_host(weights, host)
        check_room(content_of(weights.version), weights.size_bytes, host, user, field="hosts")
    return [copy_version(version=weights.version, host=host, user=user) for host in hosts]


def _can_come(weights: Artifact) -> bool:
    """Whether another host can get the files: from their source, or a found folder from a peer."""
    source = weights.version.model.source
    return source in FETCHED or (source == Model.Source.PATH and bool(givers(weights)))


def _check_host(weights: Artifact, host: Host) -> None:
    if host.state.is_gone:
        raise invalid("hosts", f"{host} takes part no more ({host.state}).", value=host.name)
    if weights.locations.filter(host=host).exists():
        raise invalid("hosts", f"{host} has {weights.version} already.", value=host.name)


def hosts_without(version: ModelVersion) -> list[Host]:
    """Hosts that the version's files could be brought to."""
    try:
        weights = needed_files(version).weights
    except CannotPrepare:
        return []
    if not _can_come(weights):
        return []
    there = Host.objects.filter(left_at=None, fenced_at=None).exclude(locations__artifact=weights)
    return list(there.order_by("name"))


def why_kept(host: Host, copies: Sequence[Location]) -> dict[int, str]:
    """By the copy's key: why it may not be deleted from `host`; empty where it may."""
    using = jobs_using(host, copies)
    versions = [copy.artifact.version_id for copy in copies]
    imports = ModelImport.objects.filter(version__in=versions, job__pinned_host=host, job__finished_at=None)
    fetching = {each.version_id: each.job for each in imports.select_related("job")}
    others = Location.objects.filter(artifact__in=[copy.artifact_id for copy in copies]).exclude(host=host)
    elsewhere = set(others.values_list("artifact", flat=True))
    return {
        copy.pk: _why_kept(
            copy, using[copy.pk], fetching.get(copy.artifact.version_id), is_elsewhere=copy.artifact_id in elsewhere
        )
        for copy in copies
    }


def _why_kept(copy: Location, users: Sequence[Job], fetching: Job | None, *, is_elsewhere: bool) -> str:
    version = copy.artifact.version
    if copy.is_adopted:
        return "It was there before; Stackweb only reads it."
    is_fetched = version.model.source in FETCHED and copy.artifact.role == Artifact.Role.WEIGHTS
    if not is_fetched and not is_elsewhere:
        return f"{version} was made by a run here and could not be fetched again."
    if users:
        names = ", ".join(job.public_id for job in users[:5])
        return f"{names} use{'s' if len(users) == 1 else ''} {version} on {copy.host} now. Stop {names} first."
    return f"{fetching.public_id} is bringing {version} to {copy.host} now." if fetching else ""


@transaction.atomic
def delete_copy(*, copy: Location, user: User) -> Job | None:
    """Takes the copy off the books at once, so that nothing new counts on it, and has its host delete the bytes; None
    where another team's model lies in the same folder, so that they stay.

    Raises Problem 403 for a role below member, 409 for one that is used, adopted or could not be fetched again.
    """
    version = copy.artifact.version
    require_role(user, Role.MEMBER, version.team)
    locked = Location.objects.select_for_update(of=("self",)).filter(pk=copy.pk).select_related("host").first()
    if locked is None:
        raise conflict(f"{version} is no longer on {copy.host}.")
    if reason := why_kept(locked.host, [locked])[locked.pk]:
        raise conflict(reason)
    locked.delete()
    audit(user, "model.copy_deleted", object_id=version.public_id, object_name=f"{version} on {copy.host}",
          team=version.team)  # fmt: skip
    if Location.objects.filter(host=copy.host, path=copy.path).exists():
        return None
    return submit_job(
        team=version.team,
        user=user,
        kind=JobKind.DOWNLOAD,
        name=f"Delete {version.model.name} from {copy.host}"[:200],
        spec=RunSpec(kind="download", engine="delete", payload={"folder": copy.path}),
        pinned_host=copy.host,
    )


def copies_on(host: Host, user: User) -> QuerySet[Location]:
    """Every copy there of models that the person may see, with what a list names."""
    seen = ModelVersion.objects.visible_to(user)
    rows = Location.objects.filter(artifact__version__in=seen, host=host)
    long = ("artifact__files", "artifact__version__facts", "artifact__version__model__card")
    return rows.select_related("artifact__version__model__team", "host").defer(*long)
