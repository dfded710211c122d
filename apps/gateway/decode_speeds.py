"""How fast a server decodes for one request: measured on requests that had its engine to themselves.

The planner's figure is of one request; requests that share a step say less. Kept with the attempt, where the ledger
of estimates, the fit table and the Engines page find it.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from apps.gateway.models import UsageRecord
from apps.jobs.lifecycle import lock_attempt
from apps.jobs.models import Attempt

QUANTITY = "decode_tokens_per_second"
LEAST_REQUESTS, LEAST_TOKENS = 5, 16  # before a speed is told; of an answer that is timed
MOST_PROMPT_TOKENS = 4096  # longer ones read a larger cache than the planner's request of 1,024
NEWEST = 2000  # requests that are looked at
LOOKED_BACK = timedelta(hours=1)  # at attempts that ended


@dataclass(frozen=True)
class Timed:
    """One request, by the gateway's clock. `rate` in tokens/s after its first token; None where it tells none."""

    begun: datetime
    ended: datetime
    rate: float | None


def note_decode_speeds() -> int:
    """Measures the servers that are up or were lately; returns how many were told a speed."""
    lately = Q(ended_at=None) | Q(ended_at__gte=timezone.now() - LOOKED_BACK)
    served = Attempt.objects.filter(lately, ready_at__isnull=False, job__replica__isnull=False)
    return sum(_note(attempt) for attempt in served.select_related("job__replica"))


def _note(attempt: Attempt) -> bool:
    alone = rates_alone(_requests(attempt))
    if len(alone) < LEAST_REQUESTS:
        return False
    with transaction.atomic():
        held = lock_attempt(attempt.pk)  # its host's heartbeat adds to the same measurements
        held.measurements |= {QUANTITY: statistics.median(alone)}
        held.save(update_fields=["measurements"])
    return True


def rates_alone(requests: Sequence[Timed]) -> list[float]:
    """Rates of the requests that no other one overlapped."""
    found: list[float] = []
    busy_until = datetime.min.replace(tzinfo=UTC)
    in_order = sorted(requests, key=lambda each: each.begun)
    for number, each in enumerate(in_order):
        stayed_alone = all(each.ended <= following.begun for following in in_order[number + 1 : number + 2])
        if each.rate is not None and busy_until <= each.begun and stayed_alone:
            found.append(each.rate)
        busy_until = max(busy_until, each.ended)
    return found


def _requests(attempt: Attempt) -> list[Timed]:
    """All that its endpoint answered, well or not, while this attempt was up. A record's `at` is the request's end."""
    span = (attempt.ready_at, attempt.ended_at or timezone.now())
    records = UsageRecord.objects.filter(endpoint_id=attempt.job.replica.endpoint_id, at__range=span).order_by("-at")
    return list(_timed(records[:NEWEST]))


def _timed(records: Iterable[UsageRecord]) -> Iterable[Timed]:
    for each in records:
        yield Timed(each.at - timedelta(milliseconds=each.duration_ms), each.at, _rate(each))


def _rate(record: UsageRecord) -> float | None:
    """Only of a streamed answer, whose first token was seen."""
    told = record.status == 200 and record.is_stream and record.is_exact and record.ttft_ms is not None
    if not told or record.completion_tokens < LEAST_TOKENS or record.prompt_tokens > MOST_PROMPT_TOKENS:
        return None
    took = record.duration_ms - (record.ttft_ms or 0.0)
    return 1000 * (record.completion_tokens - 1) / took if took > 0 else None
