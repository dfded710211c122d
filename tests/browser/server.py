"""The application in a process of its own, so that it can be killed under a page that is open."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from django.conf import settings
from django.db import connection


class Server:
    """uvicorn on the test database; files lie in this test run's home, as the settings here say too."""

    def __init__(self, port: int, log: Path) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._port, self._log = port, log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        parts = urlsplit(settings.DATABASE_URL)
        database = urlunsplit(parts._replace(path=f"/{connection.settings_dict['NAME']}"))
        command = [sys.executable, "-m", "uvicorn", "stackweb.asgi:application", "--port", str(self._port)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--log-level", "warning"],
                env=os.environ | {"DATABASE_URL": database},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._wait_until_it_answers()

    def kill(self) -> None:
        """No goodbye: open streams break off."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(10)

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + 30
        while True:
            try:
                with urllib.request.urlopen(f"{self.url}/login", timeout=5):
                    return
            except OSError:
                assert self._process is not None
                alive = self._process.poll() is None and time.monotonic() < deadline
                assert alive, f"the server did not start:\n{self._log.read_text()[-4000:]}"
                time.sleep(0.05)
