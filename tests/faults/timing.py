"""The rig's pace, in seconds; the product's own is in stackweb.settings."""

LEASE_SECONDS = 6
HEARTBEAT_SECONDS = 1
HOST_SILENT_SECONDS = 4
UNCLAIMED_SECONDS = 12
GRACE_SECONDS = 5
