"""Which boot of a host speaks. A request may be on its way while the host restarts; what it says is then no longer so.

Boot ids have no order of their own: the newest is the last one that was not known yet. Without this a late claim or
inventory of the earlier boot would take from the host what it runs since, and give its GPU away.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from apps.accounts.problems import Problem, conflict
from apps.fleet.models import Host
from apps.fleet.operations import locked_row

# Nothing is on its way for longer; after it an earlier id is a machine that was set back to a saved state.
LATEST_WORD = timedelta(minutes=10)


@transaction.atomic
def note_boot(*, host: Host, boot_id: str) -> None:
    """Takes a boot that is not known yet for the newest. Raises Problem 409 for the late word of an earlier one."""
    if boot_id in ("", _current_boot(host)):
        return
    row, now = locked_row(host), timezone.now()
    if boot_id == row.boot_id:
        return
    earlier = {
        known: replaced for known, replaced in row.earlier_boots.items()
        if now - datetime.fromisoformat(replaced) < LATEST_WORD
    }  # fmt: skip
    if boot_id in earlier:
        raise _late(host)
    if row.boot_id:
        earlier[row.boot_id] = now.isoformat()
    Host.objects.filter(pk=row.pk).update(boot_id=boot_id, earlier_boots=earlier)


def check_boot(*, host: Host, boot_id: str) -> None:
    """Raises Problem 409 unless it is the newest; for a look after a lock was waited for."""
    if boot_id not in ("", _current_boot(host)):
        raise _late(host)


def _current_boot(host: Host) -> str:
    """As the database says now."""
    return Host.objects.values_list("boot_id", flat=True).get(pk=host.pk)


def _late(host: Host) -> Problem:
    return conflict(f"{host.name} has restarted since this was sent.")
