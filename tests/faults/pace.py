"""Waits that the product keeps as constants, shortened for the rig's own server processes."""

from __future__ import annotations

from datetime import timedelta

from apps.jobs import leases, reaping
from tests.faults.timing import GRACE_SECONDS, UNCLAIMED_SECONDS


def hasten() -> None:
    """Raises AttributeError when a name has moved, so that the rig never runs at the wrong pace unseen."""
    for module, name, value in (
        (leases, "STOP_GRACE_SECONDS", GRACE_SECONDS),
        (reaping, "UNCLAIMED_LIMIT", timedelta(seconds=UNCLAIMED_SECONDS)),
    ):
        getattr(module, name)
        setattr(module, name, value)
