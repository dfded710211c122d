"""Hosts come, report what they have, and give up their devices only when nothing holds them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from apps.accounts.audit import audit
from apps.accounts.models import User
from apps.accounts.names import LABEL
from apps.accounts.problems import Problem, conflict, invalid
from apps.accounts.tokens import HOST_TOKEN, JOIN_TOKEN, digest_token, new_token
from apps.fleet.boots import note_boot
from apps.fleet.models import Device, EngineEnvironment, Host, HostToken, JoinToken
from apps.fleet.schemas import InventoryIn
from apps.planning.mig import device_type, slice_name

JOIN_TOKEN_LIFE = timedelta(hours=24)
MAKE_ANOTHER = "Make a new one under Hardware, Add a GPU host."
SEEN_EVERY = timedelta(seconds=2)


@transaction.atomic
def enrol_host(*, name: str) -> tuple[Host, str]:
    """The host of that name (made if new) and a fresh token for it, shown only here."""
    _check_name(name)
    host, _ = Host.with_removed.get_or_create(name=name)
    _welcome_back(host)
    return host, _give_token(host)


def _check_name(name: str) -> None:
    if not LABEL.fullmatch(name):
        raise invalid("name", "A host name has lower-case letters, digits and hyphens, at most 63.", value=name)


def _welcome_back(host: Host) -> None:
    """Joining again ends a fence, a goodbye and a removal; a cordon that came with a fence ends with it."""
    fields: dict[str, Any] = {"fenced_at": None, "left_at": None, "removed_at": None}
    fields |= {"boot_id": "", "earlier_boots": {}}  # it may be another machine of that name
    if host.fenced_at is not None:
        fields |= {"cordoned": False, "is_draining": False, "cordon_reason": ""}
    Host.with_removed.filter(pk=host.pk).update(**fields)


def _give_token(host: Host) -> str:
    """A fresh token; the ones of before end."""
    token = new_token(HOST_TOKEN)
    HostToken.objects.filter(host=host, revoked_at=None).update(revoked_at=timezone.now())
    HostToken.objects.create(host=host, digest=token.digest)
    audit(None, "host.enrolled", object_id=host.name, object_name=host.name)
    return token.plain


def _admit(name: str) -> Host:
    """A new host, or one that was fenced, left or was removed. Raises Problem 409 for a name that lives: of two
    that come at the same moment the database lets one in."""
    taken = conflict(f"A host named “{name}” has joined already. Choose another with --name.")
    known = Host.with_removed.select_for_update().filter(name=name).first()
    if known is None:
        try:
            with transaction.atomic():
                return Host.objects.create(name=name)
        except IntegrityError:
            raise taken from None
    if not known.state.is_gone and known.removed_at is None:
        raise taken
    _welcome_back(known)
    return known


@transaction.atomic
def create_join_token(*, user: User) -> tuple[JoinToken, str]:
    """A token with which one new host may join within 24 hours; the plain text is shown once."""
    token = new_token(JOIN_TOKEN)
    row = JoinToken.objects.create(digest=token.digest, created_by=user, expires_at=timezone.now() + JOIN_TOKEN_LIFE)
    audit(user, "join_token.created", object_id=str(row.pk))
    return row, token.plain


@transaction.atomic
def join_host(*, join_token: str, name: str, inventory: InventoryIn) -> tuple[Host, str]:
    """Admits a new host, or one again that was fenced, left or was removed.

    Says which is wrong: the token (unknown, used, expired) or the name (taken).
    """
    token = JoinToken.objects.select_for_update().filter(digest=digest_token(join_token)).first()
    if token is None:
        raise Problem(401, "Unknown join token", f"This join token is unknown. {MAKE_ANOTHER}")
    if token.used_at is not None:
        used = f"This join token was used on {token.used_at:%d %b %H:%M} UTC and works once."
        raise Problem(401, "Join token used", f"{used} {MAKE_ANOTHER}")
    if token.expires_at < timezone.now():
        expired = f"This join token expired on {token.expires_at:%d %b %H:%M} UTC."
        raise Problem(401, "Join token expired", f"{expired} {MAKE_ANOTHER}")
    _check_name(name)
    host = _admit(name)
    host_token = _give_token(host)
    token.used_at, token.used_by = timezone.now(), host
    token.save(update_fields=["used_at", "used_by"])
    record_inventory(host=host, inventory=inventory)
    return host, host_token


@transaction.atomic
def record_inventory(*, host: Host, inventory: InventoryIn) -> None:
    """What the host's agent found; devices that vanished stay as rows, marked absent.

    Raises Problem 409 for what was sent before the host restarted.
    """
    note_boot(host=host, boot_id=inventory.boot_id)
    Host.objects.filter(pk=host.pk).update(
        last_seen_at=timezone.now(),
        booted_at=inventory.booted_at,
        cuda_version=next((gpu.cuda[:20] for gpu in inventory.gpus if gpu.cuda), ""),
        architecture=inventory.architecture,
        isolation=inventory.isolation,
        warnings=inventory.warnings,
        agent_version=inventory.agent_version,
        platform=inventory.platform,
        cpu_model=inventory.cpu.model,
        cpu_count=inventory.cpu.cores,
        ram_bytes=inventory.ram_bytes,
        disk_total_bytes=inventory.disk.total_bytes,
        disk_free_bytes=inventory.disk.free_bytes,
        models_dir=inventory.models_dir,
        peer_address=inventory.peer_address,
    )
    list(host.devices.select_for_update().order_by("pk"))  # in everybody's order; below they come by their index
    seen = [_record_cpu(host, inventory)] + [_record_gpu(host, gpu.model_dump()) for gpu in inventory.gpus]
    host.devices.exclude(pk__in=seen).update(is_present=False)
    _record_environments(host, inventory)


def _record_cpu(host: Host, inventory: InventoryIn) -> int:
    device, _ = Device.objects.update_or_create(
        host=host,
        uuid="cpu",
        defaults={
            "kind": Device.Kind.CPU,
            "name": inventory.cpu.model,
            "memory_bytes": inventory.ram_bytes,
            "is_present": True,
        },
    )
    return device.pk


def _record_gpu(host: Host, gpu: dict[str, Any]) -> int:
    name = slice_name(gpu["name"], gpu["mig_profile"])  # older workers, as older drivers, name the whole GPU
    device, _ = Device.objects.update_or_create(
        host=host,
        uuid=gpu["uuid"],
        defaults={
            "kind": Device.Kind.GPU,
            "index": gpu["index"],
            "name": name,
            "memory_bytes": gpu["memory_bytes"],
            "driver": gpu["driver"],
            "gpu_type": known.key if (known := device_type(name, gpu["memory_bytes"])) else "",
            "links": gpu["links"],
            "mig_profile": gpu["mig_profile"],
            "power_limit_w": gpu["power_limit_w"],
            "is_present": not gpu["is_split"],  # its slices take the work; its sensors are still recorded
        },
    )
    return device.pk


def _record_environments(host: Host, inventory: InventoryIn) -> None:
    ready = [item for item in inventory.environments if item.state in ("ready", "configured")]
    host.environments.exclude(path__in=[item.path for item in ready]).delete()
    for item in ready:
        EngineEnvironment.objects.update_or_create(
            host=host,
            path=item.path,
            defaults={
                "engine": item.engine,
                "variant": item.variant,
                "lock_sha256": item.lock_sha256,
                "size_bytes": item.size_bytes,
            },
        )


def note_host_seen(*, host: Host) -> None:
    """A host calls several times a second or so; once in two seconds is enough to know it."""
    now = timezone.now()
    stale = Q(last_seen_at=None) | Q(last_seen_at__lt=now - SEEN_EVERY)
    Host.objects.filter(stale, pk=host.pk).update(last_seen_at=now)
