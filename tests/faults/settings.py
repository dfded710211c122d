"""The product's settings at a pace that lets a hundred faults happen in minutes. Only the fault rig uses it."""

from stackweb.settings import *  # noqa: F403
from tests.faults import timing

LEASE_SECONDS = timing.LEASE_SECONDS
HEARTBEAT_SECONDS = timing.HEARTBEAT_SECONDS
HOST_SILENT_SECONDS = timing.HOST_SILENT_SECONDS
