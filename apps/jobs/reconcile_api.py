"""REST: what runs on hosts since before a restore, and what an admin decides about it."""

from __future__ import annotations

import uuid as uuids
from datetime import datetime
from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema

from apps.accounts.rest import signed_in
from apps.fleet.querysets import reconcile_hold
from apps.jobs.api import job_out
from apps.jobs.reconciling import HeldRow, adopt_held, end_held, end_hold, held_rows
from apps.jobs.schemas import JobOut

router = Router(tags=["hosts"])


class HeldOut(Schema):
    uuid: uuids.UUID
    epoch: int
    host: str
    devices: list[int]  # GPU indices on the host; they are given to nobody else
    job: str  # as the host was told
    is_known: bool  # the restored database has that job
    is_ending: bool
    has_ended: bool  # its result waits on its host
    found_at: datetime


class HoldOut(Schema):
    """`since`: of the restore; null: no hold is open."""

    since: datetime | None
    text: str
    attempts: list[HeldOut]


class EndedOut(Schema):
    ending: int


@router.get("/reconcile-hold", response=HoldOut)
def get_hold(request: HttpRequest) -> dict[str, Any]:
    hold = reconcile_hold()
    rows = [_held_out(row) for row in held_rows()]
    return {"since": hold.opened_at if hold else None, "text": hold.text if hold else "", "attempts": rows}


def _held_out(row: HeldRow) -> dict[str, Any]:
    held = row.held
    names = "uuid epoch is_ending has_ended found_at"
    found = {name: getattr(held, name) for name in names.split()}
    known = {"job": held.job_label, "is_known": row.job is not None}
    return found | known | {"host": held.host.name, "devices": held.device_indexes}


@router.post("/reconcile-hold/end", response=EndedOut)
def end_the_hold(request: HttpRequest) -> dict[str, int]:
    """What is still unknown then is ended by its host."""
    return {"ending": end_hold(user=signed_in(request))}


@router.post("/reconcile-hold/attempts/{uuid}/adopt", response=JobOut)
def adopt(request: HttpRequest, uuid: uuids.UUID) -> dict[str, Any]:
    """Its job goes on with it. 409 where the restored database has no such job, or one that is over."""
    return job_out(adopt_held(attempt_uuid=uuid, user=signed_in(request)))


@router.post("/reconcile-hold/attempts/{uuid}/end", response=HoldOut)
def end(request: HttpRequest, uuid: uuids.UUID) -> dict[str, Any]:
    """Its host ends it; its devices are free once it is dead."""
    end_held(attempt_uuid=uuid, user=signed_in(request))
    return get_hold(request)
