"""The host's own calls: join and telemetry (docs/worker-protocol.md)."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone
from ninja import Router, Status
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from apps.accounts.problems import Problem
from apps.fleet import services
from apps.fleet.broker import broker_url_for
from apps.fleet.ingest import record_telemetry
from apps.fleet.models import Host
from apps.fleet.schemas import JoinIn, JoinOut, TelemetryIn

router = Router()
PROTOCOL = "1"


def calling_host(request: HttpRequest) -> Host:
    """The host behind the token. Raises Problem 400 for another protocol version."""
    spoken = request.headers.get("Stackweb-Protocol", "")
    if spoken != PROTOCOL:
        raise Problem(
            400,
            "Protocol version",
            f"This server speaks Stackweb-Protocol {PROTOCOL}, the worker “{spoken}”.",
        )
    host: Host = request.host  # type: ignore[attr-defined]
    return host


@router.post("/join", response={201: JoinOut})
def join(request: HttpRequest, payload: JoinIn) -> Status[dict[str, Any]]:
    token = request.headers.get("Authorization", "").removeprefix("Bearer ")
    try:
        with transaction.atomic():  # where the broker does not answer, no token is used up and no name taken
            host, host_token = services.join_host(join_token=token, name=payload.name, inventory=payload.inventory)
            broker_url = broker_url_for(host)
    except (RedisConnectionError, RedisTimeoutError):
        raise Problem(503, "Broker away", "Redis does not answer. Join again when it does, with this token.") from None
    return Status(
        201,
        {
            "host_token": host_token,
            "host": {"id": host.name, "name": host.name},
            "queue": host.queue,
            "broker_url": broker_url,
            "broker_prefix": host.broker_prefix,
            "lease_seconds": settings.LEASE_SECONDS,
            "heartbeat_seconds": settings.HEARTBEAT_SECONDS,
        },
    )


@router.post("/telemetry")
def telemetry(request: HttpRequest, payload: TelemetryIn) -> dict[str, int]:
    return {"kept": record_telemetry(host=calling_host(request), samples=payload.samples, now=timezone.now())}
