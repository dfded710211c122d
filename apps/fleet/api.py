"""Hosts over REST, and the token with which another host joins."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema, Status

from apps.accounts.rest import create_once, signed_in
from apps.fleet.host_states import HostState
from apps.fleet.joining import join_command
from apps.fleet.models import Device, Host, HostLoad, Reservation
from apps.fleet.querysets import hosts_with_devices, latest_samples, live_reservations
from apps.fleet.services import create_join_token

router = Router(tags=["hosts"])


class DeviceOut(Schema):
    """A GPU, or the host's CPU, which is shared by reserved RAM."""

    kind: str
    index: int
    uuid: str
    name: str
    memory_bytes: int
    is_held: bool
    slots: int  # of a GPU; the CPU is shared by reserved RAM
    slots_held: int
    reserved_ram_bytes: int
    driver: str
    gpu_type: str
    mig_profile: str
    power_limit_w: float | None
    links: list[dict[str, Any]]


class LoadOut(Schema):
    at: datetime
    cpu_percent: float
    ram_used_bytes: int
    gpus: list[dict[str, Any]]


class EnvironmentOut(Schema):
    engine: str
    variant: str
    path: str
    size_bytes: int


class HostOut(Schema):
    id: str
    name: str
    state: HostState
    is_silent: bool
    cordoned: bool
    cordon_reason: str
    is_draining: bool
    fenced_at: datetime | None
    left_at: datetime | None
    last_seen_at: datetime | None
    booted_at: datetime | None
    platform: str
    architecture: str
    isolation: str
    warnings: list[str]
    cuda_version: str
    agent_version: str
    gpu_hour_price: Decimal | None
    cpu_model: str
    cpu_count: int
    ram_bytes: int
    disk_total_bytes: int
    disk_free_bytes: int
    devices: list[DeviceOut]
    environments: list[EnvironmentOut]
    load: LoadOut | None


class HostPage(Schema):
    items: list[HostOut]
    next: str | None


class JoinTokenOut(Schema):
    id: str
    expires_at: datetime
    token: str | None  # shown once; null in a repeated answer
    command: str | None


@router.get("/hosts", response=HostPage)
def list_hosts(request: HttpRequest) -> dict[str, Any]:
    """Every host, in one page: an installation has tens of them."""
    hosts = hosts_with_devices()
    samples = latest_samples(hosts)
    held = held_shares(live_reservations())
    return {"items": [host_out(host, samples.get(host.pk), held) for host in hosts], "next": None}


def held_shares(reservations: list[Reservation]) -> dict[int, list[int]]:
    """Reserved RAM of each live reservation, by the device's primary key."""
    held: dict[int, list[int]] = {}
    for reservation in reservations:
        held.setdefault(reservation.device_id, []).append(reservation.ram_bytes)
    return held


def host_out(host: Host, sample: HostLoad | None, held: dict[int, list[int]]) -> dict[str, Any]:
    """A host in the shape of HostOut; its devices and environments are prefetched."""
    plain = [name for name in HostOut.model_fields if name not in ("id", "devices", "environments", "load")]
    return {name: getattr(host, name) for name in plain} | {
        "id": host.name,
        "devices": [device_out(device, held.get(device.pk, [])) for device in host.devices.all()],
        "environments": list(host.environments.all()),
        "load": sample,
    }


def device_out(device: Device, held: list[int]) -> dict[str, Any]:
    names = [name for name in DeviceOut.model_fields if name not in ("is_held", "slots_held", "reserved_ram_bytes")]
    return {name: getattr(device, name) for name in names} | {
        "is_held": bool(held),
        "slots_held": len(held),
        "reserved_ram_bytes": sum(held),
    }


@router.post("/join-tokens", response={201: JoinTokenOut})
def post_join_token(request: HttpRequest) -> Status[dict[str, Any]]:
    """Lets one new host join within 24 hours."""
    shown_once: dict[str, str | None] = {"token": None, "command": None}

    def create() -> dict[str, Any]:
        row, token = create_join_token(user=signed_in(request))
        shown_once.update(token=token, command=join_command(token))
        return {"id": str(row.pk), "expires_at": row.expires_at}

    status, answer = create_once(request, create)
    return Status(status, answer | shown_once)
