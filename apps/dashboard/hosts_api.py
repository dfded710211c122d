"""REST: one host with all its facts, and what an operator does to it."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema, Status

from apps.accounts.problems import not_found
from apps.accounts.rest import signed_in
from apps.dashboard.host_page import RunningRow, host_events, recent_jobs, running_rows
from apps.fleet.api import DeviceOut, HostOut, device_out, held_shares, host_out
from apps.fleet.models import Device, Host
from apps.fleet.operations import cordon_host, set_price, uncordon_host
from apps.fleet.querysets import hosts_with_devices, latest_samples, live_reservations
from apps.jobs.api import job_out
from apps.jobs.host_operations import drain_host, fence_host, remove_host, set_slots
from apps.jobs.schemas import JobOut

router = Router(tags=["hosts"])


class HostRunningOut(Schema):
    """An open attempt on the host; `job` is null for another team's."""

    job: JobOut | None
    state: str
    device_indexes: list[int]  # empty: the CPU
    since: datetime
    is_leaving: bool  # asked to stop, so that it runs elsewhere


class HostEventOut(Schema):
    at: datetime
    what: str
    actor: str
    detail: str


class HostDetailOut(HostOut):
    running: list[HostRunningOut]
    recent_jobs: list[JobOut]
    events: list[HostEventOut]


class ReasonIn(Schema, extra="forbid"):
    reason: str = ""


class DrainIn(ReasonIn):
    now: bool = False  # also stop what would run to its end


class FenceIn(Schema, extra="forbid"):
    confirm: str  # the host's name
    force: bool = False  # although it reported within the silent limit


class HostPatch(Schema, extra="forbid"):
    gpu_hour_price: Decimal | None  # null: the GPU type's


class DevicePatch(Schema, extra="forbid"):
    slots: int


def host_named(name: str) -> Host:
    found = Host.objects.filter(name=name).first()
    if found is None:
        raise not_found("host", name)
    return found


def _detail(request: HttpRequest, host: Host) -> dict[str, Any]:
    user = signed_in(request)
    [full] = hosts_with_devices(only=host)
    held = held_shares(live_reservations(only=host))
    return host_out(full, latest_samples([full]).get(full.pk), held) | {
        "running": [_running(row) for row in running_rows(user, full)],
        "recent_jobs": [job_out(job) for job in recent_jobs(user, full)],
        "events": host_events(full),
    }


def _running(row: RunningRow) -> dict[str, Any]:
    return {
        "job": job_out(row.job) if row.job else None,
        "state": row.state,
        "device_indexes": row.attempt.device_indexes,
        "since": row.attempt.created_at,
        "is_leaving": row.is_leaving,
    }


@router.get("/hosts/{host_name}", response=HostDetailOut)
def get_host(request: HttpRequest, host_name: str) -> dict[str, Any]:
    return _detail(request, host_named(host_name))


@router.patch("/hosts/{host_name}", response=HostDetailOut)
def patch_host(request: HttpRequest, host_name: str, payload: HostPatch) -> dict[str, Any]:
    host = set_price(host=host_named(host_name), user=signed_in(request), gpu_hour_price=payload.gpu_hour_price)
    return _detail(request, host)


@router.delete("/hosts/{host_name}", response={204: None})
def delete_host(request: HttpRequest, host_name: str) -> Status[None]:
    """Takes a host that is gone off every list; its jobs keep its name. 409 while it reports or holds a job."""
    remove_host(host=host_named(host_name), user=signed_in(request))
    return Status(204, None)


@router.post("/hosts/{host_name}/cordon", response=HostDetailOut)
def post_cordon(request: HttpRequest, host_name: str, payload: ReasonIn) -> dict[str, Any]:
    """No new work; what runs goes on."""
    return _detail(request, cordon_host(host=host_named(host_name), user=signed_in(request), reason=payload.reason))


@router.post("/hosts/{host_name}/uncordon", response=HostDetailOut)
def post_uncordon(request: HttpRequest, host_name: str) -> dict[str, Any]:
    return _detail(request, uncordon_host(host=host_named(host_name), user=signed_in(request)))


@router.post("/hosts/{host_name}/drain", response=HostDetailOut)
def post_drain(request: HttpRequest, host_name: str, payload: DrainIn) -> dict[str, Any]:
    """No new work; endpoints move where another host can hold them, batch jobs end unless `now`."""
    host, user = host_named(host_name), signed_in(request)
    return _detail(request, drain_host(host=host, user=user, now=payload.now, reason=payload.reason))


@router.post("/hosts/{host_name}/fence", response=HostDetailOut)
def post_fence(request: HttpRequest, host_name: str, payload: FenceIn) -> dict[str, Any]:
    """The machine is off: its jobs are lost and run elsewhere. 409 while it reports, unless forced."""
    host, user = host_named(host_name), signed_in(request)
    return _detail(request, fence_host(host=host, user=user, confirm=payload.confirm, force=payload.force))


@router.patch("/hosts/{host_name}/devices/{index}", response=DeviceOut)
def patch_device(request: HttpRequest, host_name: str, index: int, payload: DevicePatch) -> dict[str, Any]:
    """Slots of a GPU; 409 while a job holds any of it."""
    host = host_named(host_name)
    device = Device.objects.filter(host=host, kind=Device.Kind.GPU, index=index, is_present=True).first()
    if device is None:
        raise not_found("GPU", f"{host_name}:{index}")
    device = set_slots(device=device, user=signed_in(request), slots=payload.slots)
    return device_out(device, held_shares(live_reservations(only=host)).get(device.pk, []))
