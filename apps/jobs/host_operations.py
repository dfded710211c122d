"""What becomes of the jobs of a host that is drained, fenced, restarted, or leaves; and a GPU's slots, which change
only while no job holds it."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from apps.accounts.audit import audit
from apps.accounts.models import User
from apps.accounts.problems import conflict, invalid
from apps.fleet.boots import note_boot
from apps.fleet.models import Device, Host, Reservation
from apps.fleet.offers import fleet_now
from apps.fleet.operations import checked_reason, locked, locked_row
from apps.fleet.schemas import InventoryIn
from apps.fleet.services import record_inventory
from apps.jobs import doorbell
from apps.jobs.lifecycle import end_attempt
from apps.jobs.models import Attempt, HeldAttempt, Job, JobKind
from apps.jobs.preparations import withdraw_preparations
from apps.jobs.querysets import AttemptQuerySet
from apps.jobs.queue import need_of_job
from apps.jobs.reasons import Reason
from apps.jobs.reconciling import forget_held
from apps.jobs.stopping import ask_to_move
from apps.planning.placement import HostOffer, could_take

MAX_SLOTS = 16


@transaction.atomic
def drain_host(*, host: Host, user: User, now: bool = False, reason: str = "") -> Host:
    """No new work; endpoints that another host can hold move there, batch jobs run to their end.

    With `now` everything is stopped and queued again. Raises Problem 409 for a host that is gone.
    """
    host = locked(host)
    reason = checked_reason(reason) or host.cordon_reason
    Host.objects.filter(pk=host.pk).update(cordoned=True, is_draining=True, cordon_reason=reason)
    detail = {"now": now, "reason": reason}
    audit(user, "host.drained", object_id=host.name, object_name=host.name, detail=detail)
    others = [offer for offer in fleet_now().hosts if not offer.blocked and offer.name != host.name]
    for attempt in _open_attempts(host).select_related("job"):
        if now or attempt.claimed_at is None or _moves(attempt.job, others):
            ask_to_move(attempt_uuid=attempt.uuid, why=f"{host.name} is being drained.", actor=user)
    doorbell.schedule_soon()
    host.refresh_from_db()
    return host


def _open_attempts(host: Host) -> AttemptQuerySet:
    return Attempt.objects.open().filter(host=host).order_by("job_id", "created_at")


def _moves(job: Job, others: list[HostOffer]) -> bool:
    """An endpoint's replica that another host could take; who waits there waits for its turn."""
    if job.kind != JobKind.SERVE or job.pinned_host_id is not None:
        return False
    return any(could_take(need_of_job(job), other) for other in others)


@transaction.atomic
def fence_host(*, host: Host, user: User, confirm: str, force: bool = False) -> Host:
    """An operator says that the machine is off: its tokens end, its attempts are lost, its devices are free.

    Raises Problem 422 unless `confirm` is the host's name, 409 for a host that is gone or that reported
    within the silent limit, unless forced.
    """
    host = locked(host)
    if confirm != host.name:
        raise invalid(
            "confirm", f"confirm must be {host.name}, the host's name: it says that it is off.", value=confirm
        )
    if not host.is_silent and not force:
        raise conflict(f"{host.name} has just reported, so it is not off. Switch it off first, or drain it instead.")
    _end_membership(host, fenced_at=timezone.now(), cordoned=True, is_draining=False)
    audit(user, "host.fenced", object_id=host.name, object_name=host.name, detail={"force": force})
    for attempt in _open_attempts(host):
        _end(attempt, Reason.WORKER_LOST, f"{host.name} was fenced by {user}.")
    withdraw_preparations(host, f"{host.name} was fenced by {user}.")
    doorbell.schedule_soon()
    host.refresh_from_db()
    return host


@transaction.atomic
def host_leaves(*, host: Host) -> None:
    """Its worker says goodbye, and that nothing of it runs any more. Its jobs run elsewhere, uncounted."""
    host = locked(host)
    _end_membership(host, left_at=timezone.now())
    audit(None, "host.left", object_id=host.name, object_name=host.name)
    for attempt in _open_attempts(host):
        _end(attempt, Reason.INTERRUPTED, f"{host.name} left.")
    withdraw_preparations(host, f"{host.name} left.")
    doorbell.schedule_soon()


@transaction.atomic
def remove_host(*, host: Host, user: User) -> None:
    """Takes a machine that is no more off every list; its history keeps its name, and it may join again.

    Raises Problem 409 unless it is fenced, left or silent for more than a day, and while a job holds it.
    """
    host = locked_row(host)
    if not host.may_be_removed:
        raise conflict(f"{host.name} has reported within a day. Only a host that is fenced, left or silent can go.")
    withdraw_preparations(host, f"{host.name} was removed by {user}.")
    is_held = Reservation.objects.filter(device__host=host, released_at=None).exists()
    if is_held or _open_attempts(host).exists() or Job.objects.open().filter(pinned_host=host).exists():
        raise conflict(f"Jobs still belong to {host.name}. Fence it or cancel them first, then remove it.")
    host.devices.update(is_present=False)
    _end_membership(host, removed_at=timezone.now())
    audit(user, "host.removed", object_id=host.name, object_name=host.name)


def _end_membership(host: Host, **fields: object) -> None:
    """From here on the host's late writes are refused."""
    Host.objects.filter(pk=host.pk).update(**fields)
    forget_held(host)
    host.tokens.filter(revoked_at=None).update(revoked_at=timezone.now())


@transaction.atomic
def set_slots(*, device: Device, user: User, slots: int) -> Device:
    """How many small models may share a GPU. Raises Problem 422 outside 1 to 16, 409 while anything holds it.

    Who has a GPU whole holds the slots that it had then; a slot more would go to another job beside it.
    """
    rows = Device.objects.select_for_update(of=("self",)).select_related("host")  # a placing takes this row too
    device = rows.get(pk=device.pk)
    if device.kind != Device.Kind.GPU:
        raise invalid("index", "Only a GPU has slots; the CPU is shared by reserved memory.", value=device.index)
    if not 1 <= slots <= MAX_SLOTS:
        raise invalid("slots", f"slots must be from 1 to {MAX_SLOTS}.", value=slots)
    if slots != device.slots and (names := _holders_of(device)):
        raise conflict(f"GPU {device} is held by {', '.join(names)}. Its slots can change once it is free.")
    Device.objects.filter(pk=device.pk).update(slots=slots)
    detail = {"device": str(device), "before": device.slots, "slots": slots}
    audit(user, "host.slots_set", object_id=device.host.name, object_name=device.host.name, detail=detail)
    device.slots = slots
    return device


def _holders_of(device: Device) -> list[str]:
    """The jobs that hold any of it, and what is held there after a restore."""
    live = set(device.reservations.filter(released_at=None).values_list("holder", flat=True))
    jobs = Job.objects.filter(attempts__in=live).order_by("pk")
    held = HeldAttempt.objects.filter(pk__in=live)
    names = [f"{job.public_id} ({job.name})" for job in jobs] + [each.label for each in held]
    return names or [f"attempt {holder}" for holder in sorted(live)]


@transaction.atomic
def take_inventory(*, host: Host, inventory: InventoryIn) -> None:
    """Records it and ends what the host ran before it restarted; no claim of another boot comes between.

    Raises Problem 409 for what was sent before the restart.
    """
    host = locked_row(host)
    boot_id = host.boot_id
    note_boot(host=host, boot_id=inventory.boot_id)
    if boot_id and inventory.boot_id not in ("", boot_id):
        forget_held(host)
    _end_attempts_of_earlier_boots(host, inventory.boot_id)
    record_inventory(host=host, inventory=inventory)  # last: an install that ends has its job before its environment


def _end_attempts_of_earlier_boots(host: Host, boot_id: str) -> None:
    """Confirmed death: what was claimed before the host restarted is gone. Doing it again changes nothing.

    The host's agent may report the same end itself; whoever comes first ends the attempt.
    """
    if not boot_id:
        return
    claimed = _open_attempts(host).exclude(claimed_at=None)
    for attempt in claimed.exclude(boot_id__in=["", boot_id]):
        _end(attempt, Reason.WORKER_LOST, f"{host.name} was restarted.")


def _end(attempt: Attempt, reason: Reason, cause: str) -> None:
    """Nothing of an attempt that was never claimed can be lost, so that does not count."""
    if attempt.claimed_at is None:
        reason = Reason.INTERRUPTED
    end_attempt(attempt, exit_code=None, reason=reason, cause=cause, result={})
