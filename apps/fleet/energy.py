"""Energy from measured power."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from apps.fleet.models import Device, TelemetrySample


def energy_joules(*, devices: Sequence[Device], start: datetime, end: datetime) -> float | None:
    """Mean measured power of the GPUs of one host, times the time; None where no power was measured."""
    uuids = {device.uuid for device in devices}
    samples = TelemetrySample.objects.filter(host=devices[0].host_id, at__gte=start, at__lt=end)
    watts = [
        [gpu["power_w"] for gpu in gpus if gpu["uuid"] in uuids and gpu.get("power_w") is not None]
        for gpus in samples.values_list("gpus", flat=True).iterator()
    ]
    known = [sum(each) for each in watts if each]
    return sum(known) / len(known) * (end - start).total_seconds() if known else None
