"""Writes down what attempts use. Times are the attempt's own, so writing twice changes nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Max, Q, QuerySet

from apps.costs.models import CPU, CostEntry
from apps.fleet.energy import energy_joules
from apps.fleet.models import Device, Host, Reservation
from apps.jobs.models import Attempt
from apps.planning.gpu_types import gpu_type, mig_share

OVERLAP = timedelta(hours=3)  # a host sends up to two hours of telemetry late
JOULES_PER_KWH = 3_600_000
Shares = dict[Device, float]  # of each whole GPU, what an attempt holds
LIST_CURRENCY = "USD"  # of the list prices in apps.planning.gpu_types
_WRITTEN_AGAIN = ["device_seconds", "energy_joules", "hour_price", "cost", "currency", "accrued_at"]


@transaction.atomic
def accrue_costs(*, now: datetime) -> int:
    """Brings the entries of every attempt that ran since the last call up to `now`; how many were written.

    An entry keeps the price that it had first: a new one counts for new attempts, and from midnight (UTC) for all.
    """
    last = CostEntry.objects.aggregate(last=Max("accrued_at"))["last"]
    since = last - OVERLAP if last else None
    ran = _attempts_since(since)
    held = _held_shares(ran)
    entries = [
        _entry(attempt, device_type, shares, start, end, now)
        for attempt in ran
        for device_type, shares in _by_type(held.get(attempt.uuid) or _named_shares(attempt)).items()
        for start, end in _days(attempt, since, now)
    ]
    written = CostEntry.objects.filter(attempt__in=ran.values("uuid"), day__gte=since.date() if since else date.min)
    _price(entries, written)
    CostEntry.objects.bulk_create(
        entries,
        update_conflicts=True,
        unique_fields=["attempt", "day", "device_type"],
        update_fields=_WRITTEN_AGAIN,
        batch_size=500,
    )
    written.filter(accrued_at__lt=now).delete()  # of a GPU that had another type, or is gone
    return len(entries)


def _attempts_since(since: datetime | None) -> QuerySet[Attempt]:
    ran = Attempt.objects.filter(claimed_at__isnull=False).select_related("job", "host")
    if since is not None:
        ran = ran.filter(Q(ended_at=None) | Q(ended_at__gte=since))
    return ran.prefetch_related("host__devices")


def _days(attempt: Attempt, since: datetime | None, now: datetime) -> Iterator[tuple[datetime, datetime]]:
    """The attempt's time cut at midnights (UTC), from the day of `since` on."""
    end = attempt.ended_at or now
    start: datetime = attempt.claimed_at  # type: ignore[assignment]  # only claimed attempts come here
    if since is not None:
        start = max(start, _midnight(since.date()))
    while start < end:
        cut = min(end, _midnight(start.date() + timedelta(days=1)))
        yield start, cut
        start = cut


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _held_shares(attempts: QuerySet[Attempt]) -> dict[UUID, Shares]:
    """Of each attempt on GPUs, what it reserved."""
    theirs = Reservation.objects.filter(holder__in=attempts.values("uuid"), device__kind=Device.Kind.GPU)
    slots: dict[tuple[UUID, Device, int], set[int]] = defaultdict(set)
    for each in theirs.select_related("device").order_by("device__index", "device_id"):
        slots[each.holder, each.device, each.gpu_slots].add(each.slot)
    held: dict[UUID, Shares] = defaultdict(dict)
    for (holder, gpu, gpu_slots), taken in slots.items():
        held[holder][gpu] = share_of(gpu, slots=len(taken), of=gpu_slots)
    return held


def _named_shares(attempt: Attempt) -> Shares:
    """Of an attempt without reservations: a slot of each GPU that it names."""
    gpus = [each for each in attempt.host.devices.all() if each.kind == Device.Kind.GPU and each.is_present]
    return {gpu: share_of(gpu, of=gpu.slots) for gpu in gpus if gpu.index in attempt.device_indexes}


def _by_type(shares: Shares) -> dict[str, Shares]:
    """A part for each type of GPU, which have different prices; without GPUs it is the CPU."""
    parts: dict[str, Shares] = defaultdict(dict)
    for gpu, share in shares.items():
        parts[gpu.gpu_type or gpu.name][gpu] = share
    return parts or {CPU: {}}


def _joules(shares: Shares, start: datetime, end: datetime) -> float | None:
    """Each GPU's energy by the share that was held; None where no power was measured."""
    parts = []
    for share in set(shares.values()):
        alike = [gpu for gpu, held in shares.items() if held == share]
        joules = energy_joules(devices=alike, start=start, end=end)
        parts += [] if joules is None else [share * joules]
    return sum(parts) if parts else None


def _entry(
    attempt: Attempt, device_type: str, shares: Shares, start: datetime, end: datetime, now: datetime
) -> CostEntry:
    """Without its cost: its price may be settled already."""
    seconds = (end - start).total_seconds()
    gpus = list(shares)
    return CostEntry(
        attempt=attempt,
        job_id=attempt.job_id,
        team_id=attempt.job.team_id,
        day=start.date(),
        device_type=device_type,
        device_seconds=seconds * sum(shares.values()) if gpus else seconds,
        energy_joules=_joules(shares, start, end),
        hour_price=hour_price(attempt.host, gpus[0]) if gpus else None,
        currency=settings.CURRENCY,
        accrued_at=now,
    )


def _price(entries: list[CostEntry], written: QuerySet[CostEntry]) -> None:
    """Gives each its cost, at the price at which it was written before."""
    priced = written.filter(currency=settings.CURRENCY).exclude(hour_price=None)
    before = {(each.attempt_id, each.day, each.device_type): each.hour_price for each in priced}
    for entry in entries:
        entry.hour_price = before.get((entry.attempt_id, entry.day, entry.device_type), entry.hour_price)
        entry.cost = _cost(entry)


def share_of(gpu: Device, *, slots: int = 1, of: int) -> float:
    """Of the whole GPU, what `slots` out of `of` of it, or of a MIG slice, are charged."""
    return mig_share(gpu.mig_profile) * min(1.0, slots / of)


def hour_price(host: Host, gpu: Device) -> Decimal | None:
    """What the operator said, else the type's list price where it is in the installation's currency."""
    if host.gpu_hour_price is not None:
        return host.gpu_hour_price
    known = gpu_type(gpu.gpu_type)
    if known is None or known.hour_price is None or settings.CURRENCY != LIST_CURRENCY:
        return None
    return Decimal(str(known.hour_price))


def _cost(entry: CostEntry) -> Decimal | None:
    """Device time at its price, plus measured energy where electricity has a price."""
    if entry.hour_price is None:
        return None
    cost = Decimal(str(entry.device_seconds / 3600)) * entry.hour_price
    if entry.energy_joules is not None and settings.KWH_PRICE is not None:
        cost += Decimal(str(entry.energy_joules / JOULES_PER_KWH)) * settings.KWH_PRICE
    return cost
