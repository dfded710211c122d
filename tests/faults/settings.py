"""The product's settings at a pace that lets a hundred faults happen in minutes. Only the fault rig uses it."""

from stackweb.settings import *  # noqa: F403

LEASE_SECONDS = 6
HEARTBEAT_SECONDS = 1
HOST_SILENT_SECONDS = 4
