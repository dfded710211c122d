"""Copies from peer hosts: which hosts give a version's files, and the ticket with which one download may read them."""

from __future__ import annotations

import json
from datetime import timedelta

from django.conf import settings
from django.utils import timezone
from ninja import Schema

from apps.accounts.problems import Problem
from apps.accounts.sealing import CannotUnseal, seal, unseal
from apps.catalog.deletions import resolve_deletion
from apps.catalog.hub_secrets import hub_secrets
from apps.catalog.models import Artifact, Location, Model, ModelImport
from apps.engines.base import RunSpec
from apps.fleet.models import Host
from apps.jobs.models import Attempt, Job

TICKET = "PEER_TICKET"  # as workers.peer_source reads it
TICKET_LIFE = timedelta(hours=12)


class PeerFilesOut(Schema):
    path: str
    files: list[str]


def givers(artifact: Artifact) -> list[Location]:
    """Copies that other hosts may read now. One in a Hugging Face cache consists of links out of its folder."""
    heard = timezone.now() - timedelta(seconds=settings.HOST_SILENT_SECONDS)
    up = artifact.locations.filter(host__left_at=None, host__fenced_at=None, host__last_seen_at__gt=heard)
    if artifact.version.model.source != Model.Source.PATH:
        up = up.filter(is_adopted=False)
    return list(up.exclude(host__peer_address="").select_related("host").order_by("host__name"))


def resolve_download(job: Job, host: Host) -> RunSpec:
    """The spec of a download or a deletion; a copy's names the files and who has them now."""
    spec = resolve_deletion(job, host)
    artifact = _copied(job)
    if artifact is None:
        return spec
    peers = [{"host": each.host.name, "address": each.host.peer_address} for each in givers(artifact)]
    if not peers and artifact.version.model.source != Model.Source.PATH:
        return spec
    return spec.model_copy(update={"payload": spec.payload | {"peers": peers, "files": artifact.files}})


def download_secrets(job: Job) -> dict[str, str]:
    """For the host that claims the download: the Hub's token, and for a copy of a known version a ticket for peers."""
    artifact = _copied(job)
    if artifact is None:
        return hub_secrets(job)
    until = timezone.now() + TICKET_LIFE
    ticket = {"job": job.pk, "artifact": artifact.pk, "until": until.timestamp()}
    return hub_secrets(job) | {TICKET: seal(json.dumps(ticket))}


def opened_files(host: Host, ticket: str) -> PeerFilesOut:
    """What the ticket opens on the host that was shown it. Raises Problem 403 for one that opens nothing."""
    try:
        told = json.loads(unseal(ticket))
        job, artifact, until = int(told["job"]), int(told["artifact"]), float(told["until"])
    except (CannotUnseal, ValueError, TypeError, KeyError):
        raise _refusal("This ticket is none of this installation's.") from None
    runs = Attempt.objects.open().filter(job=job, claimed_at__isnull=False)
    if timezone.now().timestamp() > until or not runs.exists():
        raise _refusal("This ticket has expired, or its download has ended.")
    copy = Location.objects.filter(artifact=artifact, host=host).select_related("artifact").first()
    if copy is None:
        raise _refusal(f"The files of this ticket are not on {host}.")
    return PeerFilesOut(path=copy.path, files=[file["path"] for file in copy.artifact.files])


def _copied(job: Job) -> Artifact | None:
    """The files that a job brings to one more host; None for an import, which finds out what they are."""
    row = ModelImport.objects.filter(job=job).exclude(version=None).select_related("version__model").first()
    return row.version.artifacts.filter(role=Artifact.Role.WEIGHTS).first() if row and row.version else None


def _refusal(why: str) -> Problem:
    return Problem(403, "Refused", why)
