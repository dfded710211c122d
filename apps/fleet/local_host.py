"""The machine on which Stackweb itself runs: enrolled without a join token, configured by a file."""

from __future__ import annotations

import json
import os
import socket
from functools import lru_cache
from pathlib import Path
from typing import Any

from django.conf import settings

from apps.accounts.names import label_from
from apps.accounts.private_files import write_private
from apps.accounts.tokens import digest_token
from apps.fleet.broker import broker_url_for
from apps.fleet.models import Host, HostToken
from apps.fleet.services import enrol_host

SWEEP_SECONDS = 3.0


def prepare_local_host(*, home: Path) -> Host:
    """Writes $STACKWEB_HOME/host/worker.json: addresses of this start, the token and folders of before."""
    folder = home / "host"
    path = folder / "worker.json"
    before = _read(path)
    host, token = _known_host(before) or enrol_host(name=host_name(socket.gethostname()))
    kept = {
        "state_dir": str(folder / "state"),
        "models_dir": str(folder / "models"),
        # Gigabytes that every installation of this person can share, so not inside the home.
        "env_root": os.environ.get("STACKWEB_ENV_ROOT") or str(Path("~/.cache/stackweb/environments").expanduser()),
        "sweep_seconds": SWEEP_SECONDS,
    } | before
    now = {
        "url": settings.STACKWEB_URL,
        "host_token": token,
        "host_name": host.name,
        "queue": host.queue,
        "broker_url": broker_url_for(host),
        "broker_prefix": host.broker_prefix,
    }
    write_private(path, json.dumps(kept | now, indent=1) + "\n")
    return host


def is_local(host: Host) -> bool:
    """Whether the host's engines listen on the loopback of the machine that this process runs on."""
    return host.name in (_enrolled_name(), host_name(socket.gethostname()))


def _enrolled_name() -> str:
    """Asked for every endpoint at every look, so the file is read again only when it has changed."""
    path = settings.HOME / "host" / "worker.json"
    try:
        changed = path.stat().st_mtime_ns
    except FileNotFoundError:
        return ""
    return _name_in(path, changed)


@lru_cache(maxsize=4)
def _name_in(path: Path, changed: int) -> str:
    return str(_read(path).get("host_name", ""))


def local_host() -> Host | None:
    """The host on this machine, where there is one."""
    return next((host for host in Host.objects.order_by("name") if is_local(host)), None)


def renew_broker_users() -> None:
    """The broker forgets its users when it restarts; every joined host must find its own again."""
    for host in Host.objects.filter(tokens__revoked_at=None, tokens__isnull=False).distinct():
        broker_url_for(host)


def host_name(hostname: str) -> str:
    """A valid host name from a machine's: `GPU_box.lab` becomes `gpu-box`."""
    return label_from(hostname.partition(".")[0]) or "local"


def _known_host(config: dict[str, Any]) -> tuple[Host, str] | None:
    """Host and token of the configuration, where that token still works."""
    plain = str(config.get("host_token", ""))
    alive = HostToken.objects.select_related("host").filter(revoked_at=None)
    held = alive.filter(digest=digest_token(plain)).first()
    return (held.host, plain) if held else None


def _read(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}
