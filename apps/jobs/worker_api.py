"""The calls of the worker protocol that touch attempts (docs/worker-protocol.md)."""

from __future__ import annotations

import uuid as uuids
from datetime import timedelta
from typing import Any

from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone
from ninja import Query, Router

from apps.accounts.file_response import StreamedFile
from apps.accounts.problems import invalid, not_found
from apps.fleet.models import Host
from apps.fleet.querysets import reconcile_hold
from apps.fleet.schemas import InventoryIn
from apps.fleet.services import note_host_seen
from apps.fleet.worker_api import calling_host
from apps.jobs import heartbeats, leases
from apps.jobs.blobs import blob_path
from apps.jobs.chores import work_without_broker
from apps.jobs.host_operations import host_leaves, take_inventory
from apps.jobs.models import Attempt
from apps.jobs.reasons import Reason
from apps.jobs.reconciling import finish_held
from apps.jobs.schemas import ClaimIn, ClaimOut, FinishIn, HeartbeatIn, KeptIn, LeaseIn, PointsIn, StartedIn

router = Router()
PIECE_BYTES = 1024 * 1024  # of a file that arrives
KEPT_AFTER_FULL_DISK = timedelta(days=7)  # for whoever makes room and tries again


@router.get("/assignments")
def assignments(request: HttpRequest, asked: Query[KeptIn]) -> dict[str, Any]:
    host = calling_host(request)
    note_host_seen(host=host)
    work_without_broker()
    rows = Attempt.objects.open().filter(host=host).select_related("job").order_by("created_at")
    return {
        "attempts": [
            {
                "uuid": str(row.uuid),
                "epoch": row.epoch,
                "claimed": row.claimed_at is not None,
                "cancel": row.must_stop,
            }
            for row in rows
        ],
        "kept": _kept(host, asked.kept),
    }


def _kept(host: Host, asked: list[uuids.UUID]) -> list[str]:
    """Those whose job goes on, or may after a full disk; while a restored database may know less than the host, the
    unknown ones too."""
    if not asked:
        return []
    known = Attempt.objects.filter(pk__in=asked)
    had_no_room = Q(job__reason=Reason.DISK_FULL, job__finished_at__gte=timezone.now() - KEPT_AFTER_FULL_DISK)
    goes_on = Q(job__finished_at=None) | had_no_room
    kept = set(known.filter(goes_on, host=host).values_list("uuid", flat=True))
    if reconcile_hold() is not None:
        kept |= set(asked) - set(known.values_list("uuid", flat=True))
    return sorted(map(str, kept))


@router.post("/attempts/{uuid}/claim", response=ClaimOut)
def claim(request: HttpRequest, uuid: uuids.UUID, payload: ClaimIn) -> ClaimOut:
    host = calling_host(request)
    return leases.claim_attempt(host=host, attempt_uuid=uuid, epoch=payload.epoch, boot_id=payload.boot_id)


@router.post("/attempts/{uuid}/started")
def started(request: HttpRequest, uuid: uuids.UUID, lease: Query[LeaseIn], payload: StartedIn) -> dict[str, bool]:
    leases.record_started(host=calling_host(request), attempt_uuid=uuid, lease=lease, started=payload)
    return {"ok": True}


@router.post("/heartbeat")
def heartbeat(request: HttpRequest, payload: HeartbeatIn) -> dict[str, Any]:
    host = calling_host(request)
    note_host_seen(host=host)
    return {"attempts": heartbeats.beat(host=host, beats=payload.attempts)}


@router.post("/attempts/{uuid}/logs")
def logs(request: HttpRequest, uuid: uuids.UUID, lease: Query[LeaseIn], offset: int) -> dict[str, int]:
    if offset < 0:
        raise invalid("offset", "offset must be 0 or more.", value=offset)
    host = calling_host(request)
    size = leases.record_log(host=host, attempt_uuid=uuid, lease=lease, offset=offset, data=request.body)
    return {"offset": size}


@router.post("/attempts/{uuid}/metrics")
def metrics(request: HttpRequest, uuid: uuids.UUID, lease: Query[LeaseIn], payload: PointsIn) -> dict[str, bool]:
    leases.record_metrics(host=calling_host(request), attempt_uuid=uuid, lease=lease, points=payload.points)
    return {"ok": True}


@router.post("/attempts/{uuid}/outputs")
def outputs(request: HttpRequest, uuid: uuids.UUID, lease: Query[LeaseIn], name: str) -> dict[str, Any]:
    host = calling_host(request)
    pieces = iter(lambda: request.read(PIECE_BYTES), b"")
    output = leases.store_output(host=host, attempt_uuid=uuid, lease=lease, name=name, pieces=pieces)
    return {"sha256": output.sha256, "size_bytes": output.size_bytes}


@router.post("/attempts/{uuid}/finish")
def finish(request: HttpRequest, uuid: uuids.UUID, payload: FinishIn) -> dict[str, bool]:
    host = calling_host(request)
    if not finish_held(host=host, attempt_uuid=uuid, lease=payload):
        leases.finish_attempt(host=host, attempt_uuid=uuid, body=payload)
    return {"ok": True}


@router.post("/inventory")
def inventory(request: HttpRequest, payload: InventoryIn) -> dict[str, bool]:
    take_inventory(host=calling_host(request), inventory=payload)
    return {"ok": True}


@router.post("/leave")
def leave(request: HttpRequest) -> dict[str, bool]:
    host_leaves(host=calling_host(request))
    return {"ok": True}


@router.get("/inputs/{sha256}", response=None)
def inputs(request: HttpRequest, sha256: str, attempt: uuids.UUID) -> StreamedFile:
    """Only files that the spec of an open attempt of this host names."""
    host = calling_host(request)
    named = Attempt.objects.open().filter(Q(pk=attempt), host=host, job__spec__inputs__contains=[{"sha256": sha256}])
    if not named.exists():
        raise not_found("input", sha256)
    return StreamedFile(blob_path(sha256).open("rb"), content_type="application/octet-stream")
