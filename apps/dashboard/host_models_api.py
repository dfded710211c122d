"""REST: models on a host, bringing them there and deleting them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from ninja import Field, Router, Schema, Status

from apps.accounts.problems import invalid, not_found
from apps.accounts.rest import signed_in
from apps.catalog.api import import_out
from apps.catalog.copies import bring_copies, copies_on, delete_copy
from apps.catalog.lookups import host_named as known_host
from apps.catalog.lookups import version_named
from apps.catalog.schemas import ImportOut
from apps.dashboard.host_models import CopyRow, host_models
from apps.dashboard.hosts_api import host_named
from apps.jobs.api import job_out
from apps.jobs.schemas import JobOut

router = Router(tags=["hosts"])


class CopyOut(Schema):
    id: int
    version: str
    model: str
    role: str
    format: str
    size_bytes: int
    path: str
    is_adopted: bool
    last_used_at: datetime | None
    kept: str  # why it may not be deleted; empty where it may
    other_hosts: list[str]


class CopiesIn(Schema, extra="forbid"):
    hosts: list[str] = Field(min_length=1, max_length=200)


@router.get("/hosts/{host_name}/models", response=list[CopyOut])
def list_copies(request: HttpRequest, host_name: str) -> list[dict[str, Any]]:
    """Models of your teams on the host, largest first."""
    return [_out(row) for row in host_models(signed_in(request), host_named(host_name))["rows"]]


@router.delete("/hosts/{host_name}/models/{copy_id}", response={202: JobOut, 204: None})
def remove_copy(request: HttpRequest, host_name: str, copy_id: int) -> Status[Any]:
    """Takes the copy off the books at once; the job deletes its bytes. 409 says what uses it.

    204: its files stay, because another team's model lies in the same folder.
    """
    user = signed_in(request)
    copy = next((each for each in copies_on(host_named(host_name), user) if each.pk == copy_id), None)
    if copy is None:
        raise not_found("copy", str(copy_id))
    job = delete_copy(copy=copy, user=user)
    return Status(202, job_out(job)) if job else Status(204, None)


@router.post("/models/versions/{version_id}/copies", response={201: list[ImportOut]})
def post_copies(request: HttpRequest, version_id: str, payload: CopiesIn) -> Status[list[dict[str, Any]]]:
    """Brings a version to hosts before it is needed there; one that is on its way already is returned."""
    user = signed_in(request)
    hosts = [known_host(name, field="hosts") for name in payload.hosts]
    if None in hosts:
        raise invalid("hosts", "Every host needs a name.", value="")
    version = version_named(user, version_id)
    brought = bring_copies(version=version, hosts=[host for host in hosts if host], user=user)
    return Status(201, [import_out(row) for row in brought])


def _out(row: CopyRow) -> dict[str, Any]:
    artifact = row.copy.artifact
    return {
        "id": row.copy.pk,
        "version": row.version.public_id,
        "model": row.version.model.name,
        "role": artifact.role,
        "format": artifact.format,
        "size_bytes": artifact.size_bytes,
        "path": row.copy.path,
        "is_adopted": row.copy.is_adopted,
        "last_used_at": row.last_used_at,
        "kept": row.kept,
        "other_hosts": row.others,
    }
