"""The command that connects another machine."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from django.conf import settings


def join_command(token: str) -> str:
    """To be run on the new host, where the package stackweb is installed."""
    insecure = " --insecure-http" if is_reachable() and settings.STACKWEB_URL.startswith("http://") else ""
    join = f"stackweb-worker join --url {settings.STACKWEB_URL}{insecure}"
    return f"STACKWEB_JOIN_TOKEN={token} {join} && stackweb-worker run"


def is_reachable() -> bool:
    """False while this server is known by a loopback address, which no other machine can use."""
    name = urlsplit(settings.STACKWEB_URL).hostname or ""
    try:
        return not ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name != "localhost"
