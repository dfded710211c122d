"""Charts of one host's devices over an hour, a day, a week or a month."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.utils import timezone

from apps.fleet.history import History, device_history, recent_load
from apps.fleet.models import Device, Host

GIB = 1024**3
SPANS = {
    "1h": ("1 h", timedelta(hours=1)),
    "24h": ("24 h", timedelta(hours=24)),
    "7d": ("7 d", timedelta(days=7)),
    "30d": ("30 d", timedelta(days=30)),
}


@dataclass(frozen=True)
class Choice:
    """A device to choose, with its load of the last hour."""

    key: str
    title: str
    load: list[float]


def history_facts(host: Host, *, span: str, device: str) -> dict[str, Any]:
    """What templates/fleet/history.html shows; an unknown span or device is the first one."""
    span = span if span in SPANS else "1h"
    devices = {_key(each): each for each in host.devices.filter(is_present=True).order_by("-kind", "index")}
    if not devices:
        return {}
    key = device if device in devices else next(iter(devices))
    now = timezone.now()
    found = device_history(devices[key].pk, now - SPANS[span][1], now, now=now)
    loads = recent_load([each.pk for each in devices.values()], now=now)
    return {
        "choices": [Choice(name, _title(each), loads.get(each.pk, [])) for name, each in devices.items()],
        "device": key,
        "title": _title(devices[key]),
        "spans": [(name, title) for name, (title, _) in SPANS.items()],
        "span": span,
        "step": _step_words(found.step_seconds),
        "charts": _charts(found, devices[key]),
    }


def _key(device: Device) -> str:
    return "cpu" if device.kind == Device.Kind.CPU else str(device.index)


def _title(device: Device) -> str:
    return "CPU" if device.kind == Device.Kind.CPU else f"GPU {device.index}"


def _step_words(seconds: int) -> str:
    if seconds < 60:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 3600 else f"{seconds // 3600} h"


def _charts(found: History, device: Device) -> list[dict[str, Any]]:
    """One for each metric that was measured at all."""
    memory = [None if value is None else value / GIB for value in found.values["memory_bytes"]]
    total_gib = device.memory_bytes / GIB
    limit = [device.power_limit_w, f"limit {device.power_limit_w:.0f} W"] if device.power_limit_w else None
    lines: list[tuple[str, str, str, dict[str, list[float | None]], list[Any] | None]] = [
        ("util", "Utilization", "%", _loads(found), None),
        ("memory", "Memory in use", "GiB", {"most": memory}, [total_gib, f"{total_gib:.0f} GiB"]),
        ("heat", "Temperature", "°C", {"highest": found.values["temperature_c"]}, None),
        ("power", "Power", "W", {"mean": found.values["power_w"]}, limit),
    ]
    return [
        {"id": f"{name}-{device.pk}", "title": title, "unit": unit, "data": _data(found, unit, columns, line)}
        for name, title, unit, columns, line in lines
        if any(value is not None for column in columns.values() for value in column)
    ]


def _loads(found: History) -> dict[str, list[float | None]]:
    """Single samples have no other highest."""
    mean, most = found.values["util_percent"], found.values["util_max"]
    return {"mean": mean} if found.step_seconds < 60 else {"mean": mean, "highest": most}


def _data(found: History, unit: str, columns: dict[str, list[float | None]], line: list[Any] | None) -> dict[str, Any]:
    """As static/js/charts.js reads it."""
    series = [
        {
            "name": name,
            "kind": "line",
            "steps": found.times,
            "values": [v if v is None else round(v, 2) for v in column],
        }
        for name, column in columns.items()
    ]
    return {"x": "time", "unit": unit, "zero": True, "series": series} | ({"line": line} if line else {})
