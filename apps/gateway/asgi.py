"""The gateway's raw ASGI front."""
