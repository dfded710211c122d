"""REST: how a device, or all GPUs together, fared over time."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.http import HttpRequest
from django.utils import timezone
from ninja import Query, Router, Schema
from pydantic import Field

from apps.accounts.moments import Moment
from apps.accounts.problems import invalid, not_found, unknown_choice
from apps.fleet.history import METRICS, device_history
from apps.fleet.models import FLEET_ID, Device, Host
from apps.fleet.rollups import HOURS_KEPT

router = Router(tags=["hosts"])
DEFAULT_SPAN = timedelta(hours=1)


class SpanIn(Schema):
    start: Moment | None = Field(None, alias="from")  # an hour before `to`
    end: Moment | None = Field(None, alias="to")  # now
    metric: str = ""  # one of the metrics alone


class DeviceSpanIn(SpanIn):
    device: str = ""  # a GPU's index, "cpu", or a device's UUID; the first GPU, else the CPU


class HistoryOut(Schema):
    """At most 720 steps. `values` has a list for each metric, as long as `times`; null: nothing was measured then.

    Kept for a day in steps of seconds, for a month in minutes, for a year in hours.
    """

    device: str  # UUID; empty for all GPUs together: means of load, sums of memory and power
    step_seconds: int
    times: list[datetime]  # where each step begins
    values: dict[str, list[float | None]]  # util_percent util_max memory_bytes temperature_c power_w


@router.get("/hosts/{host_name}/history", response=HistoryOut)
def get_host_history(request: HttpRequest, host_name: str, asked: Query[DeviceSpanIn]) -> dict[str, Any]:
    """Load, memory, heat and power of one device; of the CPU load and RAM."""
    host = Host.objects.filter(name=host_name).first()
    if host is None:
        raise not_found("host", host_name)
    device = _device(host, asked.device)
    return _history(device.pk, asked) | {"device": device.uuid}


@router.get("/fleet/history", response=HistoryOut)
def get_fleet_history(request: HttpRequest, asked: Query[SpanIn]) -> dict[str, Any]:
    """All GPUs together, in steps of a minute and more."""
    return _history(FLEET_ID, asked) | {"device": ""}


def _device(host: Host, asked: str) -> Device:
    devices = list(host.devices.order_by("-kind", "index"))  # GPUs first
    if not asked:
        shown = [device for device in devices if device.is_present]
        if not shown:
            raise not_found("device", f"{host.name}:0")
        return shown[0]
    names = {device.uuid: device for device in devices}
    names |= {str(device.index): device for device in devices if device.kind == Device.Kind.GPU and device.is_present}
    if asked not in names:
        raise unknown_choice("device", asked, names, noun="device")
    return names[asked]


def _history(device_id: int, asked: SpanIn) -> dict[str, Any]:
    if asked.metric and asked.metric not in METRICS:
        raise unknown_choice("metric", asked.metric, METRICS, noun="metric")
    now = timezone.now()
    end = asked.end or now
    start = asked.start or end - DEFAULT_SPAN
    if start >= end:
        raise invalid("from", "from must be before to.", value=start.isoformat())
    if end - start > HOURS_KEPT:
        raise invalid("from", f"from must be at most {HOURS_KEPT.days} days before to.", value=start.isoformat())
    found = device_history(device_id, start, end, now=now)
    values = {name: column for name, column in found.values.items() if asked.metric in ("", name)}
    times = [datetime.fromtimestamp(at, timezone.get_default_timezone()) for at in found.times]
    return {"step_seconds": found.step_seconds, "times": times, "values": values}
