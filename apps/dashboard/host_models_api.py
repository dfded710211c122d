"""REST: models on a host, and deleting them there."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema, Status

from apps.accounts.problems import not_found
from apps.accounts.rest import page_of, signed_in
from apps.catalog.copies import copies_on, delete_copy
from apps.catalog.copy_uses import last_uses
from apps.dashboard.host_models import CopyRow, copy_rows
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


class CopyPage(Schema):
    items: list[CopyOut]
    next: str | None


@router.get("/hosts/{host_name}/models", response=CopyPage)
def list_copies(request: HttpRequest, host_name: str, cursor: str | None = None, limit: int = 50) -> dict[str, Any]:
    """Models of your teams on the host, the one that came last first."""
    host = host_named(host_name)
    page = page_of(copies_on(host, signed_in(request)), cursor=cursor, limit=limit, show=lambda copy: copy)
    rows = copy_rows(host, page["items"], last_uses(host, page["items"]))
    return {"items": [_out(row) for row in rows], "next": page["next"]}


@router.delete("/hosts/{host_name}/models/{copy_id}", response={202: JobOut, 204: None})
def remove_copy(request: HttpRequest, host_name: str, copy_id: int) -> Status[Any]:
    """Takes the copy off the books at once; the job deletes its bytes. 409 says what uses it.

    204: its files stay, because another team's model lies in the same folder.
    """
    user = signed_in(request)
    copy = copies_on(host_named(host_name), user).filter(pk=copy_id).first()
    if copy is None:
        raise not_found("copy", str(copy_id))
    job = delete_copy(copy=copy, user=user)
    return Status(202, job_out(job)) if job else Status(204, None)


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
