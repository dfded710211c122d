"""A Postgres and a Valkey of this test run's own: temporary folder, own ports, gone at the end."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path

from stackweb.embedded import running
from stackweb.embedded.ports import HeldPort
from stackweb.embedded.postgres import FAST_AND_UNSAFE, Postgres
from stackweb.embedded.valkey import Valkey

# Outlives pytest by a moment: when pytest's end of the pipe closes, however it ended, this stops the
# servers and removes the folder ($0).
GUARD = 'read _; for pid in "$0"/*.pid; do kill -INT $(cat "$pid"); done; sleep 1; rm -rf "$0"'


class ServersOfThisRun:
    """Addresses are known at once, so that settings can be read; the servers start when first needed."""

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="stackweb-test-"))
        password = secrets.token_urlsafe(24)
        # Held to the end: a server of ours can listen on a held port, nobody else is given it.
        self._held = [HeldPort(), HeldPort(), HeldPort()]
        ports = [held.port for held in self._held]
        settings = (*FAST_AND_UNSAFE, "max_connections=300")  # two hundred schedulers race
        self.postgres = Postgres(self.home / "postgres", ports[0], password, settings)
        self.valkey = Valkey(self.home / "valkey", ports[1], password)
        self.web_port = ports[2]
        self.given_database_url = os.environ.get("STACKWEB_TEST_DATABASE_URL", "")
        self._processes: list[tuple[running.Server, subprocess.Popen[bytes]]] = []
        self._guard = subprocess.Popen(
            ["sh", "-c", GUARD, str(self.home)],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def environment(self) -> dict[str, str]:
        return {
            "STACKWEB_HOME": str(self.home),
            "STACKWEB_PORT": str(self.web_port),
            "DATABASE_URL": self.given_database_url or self.postgres.url,
            "REDIS_URL": self.valkey.url,
            "STACKWEB_FAKE_ENGINES": "1",
        }

    def start(self) -> None:
        servers: list[running.Server] = [self.valkey]
        if not self.given_database_url:
            servers.append(self.postgres)
        for server in servers:
            process = running.start(server, self._log(server))
            self._processes.append((server, process))
            (self.home / f"{server.folder.name}.pid").write_text(str(process.pid))
        for server, process in self._processes:
            running.wait_until_ready(server, process, self._log(server))

    def stop(self) -> None:
        for server, process in self._processes:
            running.stop(server, process)
        for held in self._held:
            held.release()
        self._guard.kill()
        self._guard.communicate()
        shutil.rmtree(self.home, ignore_errors=True)

    def _log(self, server: running.Server) -> Path:
        return self.home / f"{server.folder.name}.log"
