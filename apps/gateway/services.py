"""Virtual keys, and the way of usage from the spool into the database."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from apps.accounts.access import require_role
from apps.accounts.audit import audit
from apps.accounts.models import Role, Team, User
from apps.accounts.problems import conflict, invalid
from apps.accounts.tokens import VIRTUAL_KEY, NewToken, new_token
from apps.gateway.metering import SPOOL_GLOB, read_lines
from apps.gateway.models import UsageRecord, VirtualKey

MAX_REQUESTS_PER_MINUTE = 1_000_000
SPOOL_KEPT_SECONDS = 2 * 3600  # a process writes to one file for an hour at most


@transaction.atomic
def create_virtual_key(
    *, team: Team, user: User, name: str, requests_per_minute: int | None = None
) -> tuple[VirtualKey, NewToken]:
    """The key and its plain text, which is shown once. Raises Problem 422 for a wrong name or limit."""
    require_role(user, Role.MEMBER, team)
    name = name.strip()
    if not 1 <= len(name) <= 80:
        raise invalid("name", "Give the key a name of 1 to 80 characters.", value=name)
    if requests_per_minute is not None and not 1 <= requests_per_minute <= MAX_REQUESTS_PER_MINUTE:
        raise invalid(
            "requests_per_minute",
            f"requests_per_minute must be between 1 and {MAX_REQUESTS_PER_MINUTE}, or empty for no limit.",
            value=requests_per_minute,
        )
    token = new_token(VIRTUAL_KEY)
    key = VirtualKey.objects.create(
        team=team, created_by=user, name=name, hint=token.hint, digest=token.digest,
        requests_per_minute=requests_per_minute,
    )  # fmt: skip
    audit(user, "virtual_key.created", object_id=key.public_id, object_name=name, team=team)
    return key, token


@transaction.atomic
def revoke_virtual_key(*, key: VirtualKey, user: User) -> VirtualKey:
    """Ends a key; the gateway refuses it within a second. Raises Problem 409 when it was revoked before."""
    require_role(user, Role.MEMBER, key.team)
    if not VirtualKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=timezone.now()):
        raise conflict(f"The key “{key.name}” was revoked before.")
    key.refresh_from_db()
    audit(user, "virtual_key.revoked", object_id=key.public_id, object_name=key.name, team=key.team)
    return key


def flush_usage(folder: Path | None = None) -> int:
    """Moves new spool lines into the database; returns how many. Moving a line twice changes nothing."""
    spool = folder or settings.SPOOL_DIR
    return sum(_flush_file(path) for path in sorted(spool.glob(SPOOL_GLOB)))


def _flush_file(path: Path) -> int:
    mark = path.with_suffix(".offset")
    offset = int(mark.read_text()) if mark.exists() else 0
    moved = 0
    while True:
        rows, following = read_lines(path, offset)
        if following == offset:
            break
        _store(rows)
        moved += len(rows)
        offset = following
        _write_mark(mark, offset)
    if not moved and time.time() - path.stat().st_mtime > SPOOL_KEPT_SECONDS:
        path.unlink(missing_ok=True)
        mark.unlink(missing_ok=True)
    return moved


def _write_mark(mark: Path, offset: int) -> None:
    """Whole or not at all; two flushes at once do not meet."""
    part = mark.with_suffix(f".{uuid4().hex}.part")
    part.write_text(str(offset))
    part.replace(mark)


@transaction.atomic
def _store(rows: list[dict[str, Any]]) -> None:
    known = set(VirtualKey.objects.filter(pk__in={row["key_id"] for row in rows}).values_list("pk", flat=True))
    records = [_record(row, known) for row in rows]
    UsageRecord.objects.bulk_create(records, ignore_conflicts=True)
    _note_key_use(records)


def _record(row: dict[str, Any], known_keys: set[int]) -> UsageRecord:
    fields = row | {"uuid": UUID(row["uuid"]), "at": datetime.fromisoformat(row["at"])}
    fields["key_id"] = row["key_id"] if row["key_id"] in known_keys else None
    return UsageRecord(**fields)


def _note_key_use(records: Iterable[UsageRecord]) -> None:
    latest: dict[int, datetime] = {}
    for record in records:
        if record.key_id is not None:
            latest[record.key_id] = max(record.at, latest.get(record.key_id, record.at))
    for key_id, at in sorted(latest.items()):  # in one order, as flushes of several files may meet
        older = Q(last_used_at=None) | Q(last_used_at__lt=at)
        VirtualKey.objects.filter(older, pk=key_id).update(last_used_at=at)
