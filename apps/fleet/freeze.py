"""When many hosts are silent at once, nothing is placed and nothing is taken back until they report. So it is for a
minute after a backup was restored, until the hosts have said what they run.

Then the network or this server is the likelier trouble, and rescheduling would act on what only seems dead.
"""

from __future__ import annotations

import time
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from apps.accounts.audit import audit
from apps.fleet.host_states import is_too_silent
from apps.fleet.models import FleetAlert, Host
from apps.fleet.querysets import reconcile_hold

FROZEN = "Waits until the hosts report: too many are silent at once, or a backup was just restored."
SETTLE_SECONDS = 60.0  # several heartbeats
_STARTED = time.monotonic()
# Machines that were switched off days apart are not silent "at once".
FORGOTTEN_AFTER = timedelta(hours=24)


def is_frozen() -> bool:
    if time.monotonic() - _STARTED < SETTLE_SECONDS and reconcile_hold() is not None:
        return True
    silent, expected = _silent_and_expected()
    return is_too_silent(silent=len(silent), expected=expected)


def _silent_and_expected() -> tuple[list[str], int]:
    """(names of silent hosts, number of hosts that should report). Cordoned, fenced and left ones do not count."""
    since = timezone.now() - FORGOTTEN_AFTER
    expected = list(Host.objects.filter(cordoned=False, fenced_at=None, left_at=None, last_seen_at__gte=since))
    return sorted(host.name for host in expected if host.is_silent), len(expected)


@transaction.atomic
def review_silence() -> None:
    """Opens the one alert, keeps its sentence true, and closes it when enough hosts report again."""
    silent, expected = _silent_and_expected()
    opened = FleetAlert.objects.filter(kind=FleetAlert.Kind.SILENT_HOSTS, closed_at=None)
    if not is_too_silent(silent=len(silent), expected=expected):
        if opened.update(closed_at=timezone.now()):
            audit(None, "fleet.unfrozen", object_id="fleet", object_name="Fleet")
        return
    text = sentence(silent, expected)
    alert, is_new = FleetAlert.objects.get_or_create(
        kind=FleetAlert.Kind.SILENT_HOSTS, closed_at=None, defaults={"text": text}
    )
    if is_new:
        audit(None, "fleet.frozen", object_id="fleet", object_name="Fleet", detail={"silent": silent})
    elif alert.text != text:
        opened.update(text=text)


def sentence(silent: list[str], expected: int) -> str:
    shown = ", ".join(silent[:5]) + (f" and {len(silent) - 5} more" if len(silent) > 5 else "")
    return (
        f"{len(silent)} of {expected} hosts are silent at once: {shown}. Nothing is placed or taken back until "
        "they report. Fence or cordon those that are off."
    )
