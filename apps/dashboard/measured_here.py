"""What serving a version measured here, by the devices that it ran on: beside the estimates, never mixed with them.

The speed is the one that the ledger of estimates knows: kept with the attempt by apps/gateway/decode_speeds.py.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from django.db.models import Q
from django.utils import timezone

from apps.accounts.models import User
from apps.catalog.fit import product_title
from apps.catalog.models import ModelVersion
from apps.fleet.models import Device
from apps.gateway.decode_speeds import QUANTITY
from apps.jobs.models import Attempt, Job

DAYS, ATTEMPTS = 30, 2000
Where = tuple[str, int, bool]  # title of the device, how many, and whether its FP8 was made at load


@dataclass(frozen=True)
class Measured:
    """Middle values. `decode`: tokens/s of one request that had the engine to itself; None before enough of them, and
    of another team's requests."""

    decode: float | None
    start_seconds: float | None


def measured_here(user: User, versions: Iterable[ModelVersion]) -> dict[int, dict[Where, Measured]]:
    """Version's key -> what its replicas measured that came up in the last 30 days, or run since before that; a few
    queries for any number of versions."""
    lately = Q(ended_at=None) | Q(ready_at__gte=timezone.now() - timedelta(days=DAYS))
    ready = Attempt.objects.filter(lately, job__replica__endpoint__version__in=list(versions), ready_at__isnull=False)
    rows = ready.select_related("job__replica__endpoint").defer("ran", "job__spec", "job__preview", "job__result")
    attempts = list(rows.order_by("-ready_at")[:ATTEMPTS])
    seen = set(Job.objects.visible_to(user).filter(attempts__in=attempts).values_list("pk", flat=True))
    titles = _titles(attempts)
    by_place: dict[tuple[int, Where], list[Attempt]] = defaultdict(list)
    for attempt in attempts:
        by_place[attempt.job.replica.endpoint.version_id, _where(attempt, titles)].append(attempt)
    found: dict[int, dict[Where, Measured]] = defaultdict(dict)
    for (version, place), those in by_place.items():
        speeds = (each for each in those if each.job_id in seen)
        found[version][place] = Measured(_middle(speeds, QUANTITY), _middle(those, "start_seconds"))
    return found


def _middle(attempts: Iterable[Attempt], quantity: str) -> float | None:
    values = [float(value) for each in attempts if (value := each.measurements.get(quantity))]
    return statistics.median(values) if values else None


def _titles(attempts: Iterable[Attempt]) -> dict[tuple[int, int], str]:
    gpus = Device.objects.filter(kind=Device.Kind.GPU, host__in={attempt.host_id for attempt in attempts})
    rows = gpus.order_by().values_list("host_id", "index", "name")
    return {(host, index): product_title(name) for host, index, name in rows}


def _where(attempt: Attempt, titles: dict[tuple[int, int], str]) -> Where:
    made = attempt.job.replica.endpoint.options.get("quantization", "none") == "fp8"
    if not attempt.device_indexes:
        return ("CPU", 1, made)
    return (titles.get((attempt.host_id, attempt.device_indexes[0]), ""), len(attempt.device_indexes), made)
