"""What serving a version measured here, by the devices that it ran on: beside the estimates, never mixed with them."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone

from apps.accounts.models import User
from apps.catalog.fit import product_title
from apps.catalog.models import ModelVersion
from apps.dashboard.usage import visible_usage
from apps.fleet.models import Device
from apps.jobs.models import Attempt

DAYS, ATTEMPTS, REQUESTS = 30, 50, 2000
Where = tuple[str, int, bool]  # title of the device, how many, and whether its FP8 was made at load


@dataclass(frozen=True)
class Measured:
    """Middle values. `decode`: tokens/s of one request after its first token; None before the first request."""

    decode: float | None
    requests: int
    start_seconds: float | None


def measured_here(user: User, version: ModelVersion) -> dict[Where, Measured]:
    """Of the newest replicas that came up, and of their requests of the last 30 days."""
    ready = Attempt.objects.filter(job__replica__endpoint__version=version, ready_at__isnull=False)
    attempts = list(ready.select_related("job__replica__endpoint").order_by("-ready_at")[:ATTEMPTS])
    titles = _titles(attempts)
    places = {attempt.pk: _where(attempt, titles) for attempt in attempts}
    rates, starts = defaultdict(list), defaultdict(list)
    for attempt, rate in _requests(user, attempts):
        rates[places[attempt.pk]].append(rate)
    for attempt in attempts:
        seconds = attempt.measurements.get("start_seconds")
        if seconds:
            starts[places[attempt.pk]].append(float(seconds))
    return {place: Measured(_middle(rates[place]), len(rates[place]), _middle(starts[place])) for place in
            {*rates, *starts}}  # fmt: skip


def _middle(values: list[float]) -> float | None:
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


def _requests(user: User, attempts: list[Attempt]) -> Iterable[tuple[Attempt, float]]:
    """Answered requests with the attempt that was up then, and their tokens/s after the first token."""
    by_endpoint = defaultdict(list)
    for attempt in attempts:
        by_endpoint[attempt.job.replica.endpoint_id].append(attempt)
    answered = visible_usage(user).filter(
        endpoint_id__in=list(by_endpoint),
        status=200,
        completion_tokens__gt=1,
        ttft_ms__isnull=False,
        at__gte=timezone.now() - timedelta(days=DAYS),
    )
    columns = ("endpoint_id", "at", "completion_tokens", "duration_ms", "ttft_ms")
    for endpoint, at, tokens, took, first in answered.order_by("-at").values_list(*columns)[:REQUESTS]:
        up = next((each for each in by_endpoint[endpoint] if _was_up(each, at)), None)
        if up is not None and took > first:
            yield up, 1000 * (tokens - 1) / (took - first)


def _was_up(attempt: Attempt, at: datetime) -> bool:
    return attempt.ready_at is not None and attempt.ready_at <= at and (not attempt.ended_at or at <= attempt.ended_at)
