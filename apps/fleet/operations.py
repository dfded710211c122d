"""What an operator does to a host that needs nothing of its jobs: cordon and uncordon, price. Each is audited."""

from __future__ import annotations

from decimal import Decimal

from django.db import transaction

from apps.accounts.audit import audit
from apps.accounts.models import User
from apps.accounts.problems import conflict, invalid, not_found
from apps.fleet.models import Host

MAX_PRICE = Decimal(1000)
MAX_REASON = Host._meta.get_field("cordon_reason").max_length or 0


def locked_row(host: Host) -> Host:
    """The host as it is now, until the transaction ends. Raises Problem 404 where it was just removed."""
    found = Host.objects.select_for_update(no_key=True).filter(pk=host.pk).first()
    if found is None:
        raise not_found("host", host.name)
    return found


def locked(host: Host) -> Host:
    """As `locked_row`. Raises Problem 409 for a host that is gone."""
    host = locked_row(host)
    if host.state.is_gone:
        what = "was fenced" if host.fenced_at else "left"
        raise conflict(f"{host.name} {what}. It takes part again when it joins with a fresh join token.")
    return host


@transaction.atomic
def cordon_host(*, host: Host, user: User, reason: str = "") -> Host:
    """The host takes no new work; what runs there goes on. Raises Problem 409 for a host that is gone."""
    host = locked(host)
    reason = checked_reason(reason)
    Host.objects.filter(pk=host.pk).update(cordoned=True, cordon_reason=reason)
    audit(user, "host.cordoned", object_id=host.name, object_name=host.name, detail={"reason": reason})
    host.refresh_from_db()
    return host


def checked_reason(reason: str) -> str:
    reason = " ".join(reason.split())
    if len(reason) > MAX_REASON:
        raise invalid("reason", f"reason may have {MAX_REASON} characters, not {len(reason)}.")
    return reason


@transaction.atomic
def uncordon_host(*, host: Host, user: User) -> Host:
    """Takes work again; ends a drain too. Raises Problem 409 where it is not cordoned, or gone."""
    host = locked(host)
    if not host.cordoned:
        raise conflict(f"{host.name} is not cordoned; it takes work already.")
    Host.objects.filter(pk=host.pk).update(cordoned=False, is_draining=False, cordon_reason="")
    audit(user, "host.uncordoned", object_id=host.name, object_name=host.name)
    host.refresh_from_db()
    return host


@transaction.atomic
def set_price(*, host: Host, user: User, gpu_hour_price: Decimal | None) -> Host:
    """Price of one GPU for one hour here; None takes the GPU type's. Raises Problem 422 outside 0 to 1,000.

    It counts for attempts that start from now on, and from midnight (UTC) for those that run; where no price was known,
    for all of the day.
    """
    if gpu_hour_price is not None and not (gpu_hour_price.is_finite() and 0 <= gpu_hour_price <= MAX_PRICE):
        raise invalid("gpu_hour_price", f"gpu_hour_price must be from 0 to {MAX_PRICE}.", value=str(gpu_hour_price))
    Host.objects.filter(pk=host.pk).update(gpu_hour_price=gpu_hour_price)
    shown = None if gpu_hour_price is None else str(gpu_hour_price)
    audit(user, "host.priced", object_id=host.name, object_name=host.name, detail={"gpu_hour_price": shown})
    host.refresh_from_db()
    return host
