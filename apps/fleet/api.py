"""Hosts over REST, and the token with which another host joins."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema, Status

from apps.accounts.rest import create_once, signed_in
from apps.fleet.joining import join_command
from apps.fleet.models import Device, Host, TelemetrySample
from apps.fleet.querysets import hosts_with_devices, latest_samples, live_reservations
from apps.fleet.services import create_join_token

router = Router(tags=["hosts"])


class DeviceOut(Schema):
    """A GPU, or the host's CPU, which is shared by reserved RAM."""

    kind: str
    index: int
    name: str
    memory_bytes: int
    is_held: bool
    reserved_ram_bytes: int


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
    is_silent: bool
    cordoned: bool
    last_seen_at: datetime | None
    platform: str
    agent_version: str
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
    held: dict[int, list[int]] = {}
    for reservation in live_reservations():
        held.setdefault(reservation.device_id, []).append(reservation.ram_bytes)
    return {"items": [_host(host, samples.get(host.pk), held) for host in hosts], "next": None}


def _host(host: Host, sample: TelemetrySample | None, held: dict[int, list[int]]) -> dict[str, Any]:
    plain = [name for name in HostOut.model_fields if name not in ("id", "devices", "environments", "load")]
    return {name: getattr(host, name) for name in plain} | {
        "id": host.name,
        "devices": [_device(device, held.get(device.pk, [])) for device in host.devices.all()],
        "environments": list(host.environments.all()),
        "load": sample,
    }


def _device(device: Device, held: list[int]) -> dict[str, Any]:
    names = ("kind", "index", "name", "memory_bytes")
    return {name: getattr(device, name) for name in names} | {
        "is_held": bool(held),
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
