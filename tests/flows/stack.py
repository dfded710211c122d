"""A whole Stackweb for the flow tests: `stackweb up` in a folder of its own, spoken to over HTTP only."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil

from stackweb.embedded import running
from stackweb.embedded.ports import HeldPort
from stackweb.embedded.valkey import Valkey

START_SECONDS = 120
OWN = {"STACKWEB_HOME", "STACKWEB_PORT", "STACKWEB_FAKE_ENGINES", "DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE"}


class Stack:
    """`up` starts it, `down` ends it as Ctrl-C does. `api` acts with the installation's own token."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.home = folder / "home"
        self.output = folder / "output"
        self.port = HeldPort()
        self.url = f"http://127.0.0.1:{self.port.port}"
        kept = {name: value for name, value in os.environ.items() if name not in OWN}
        own = {"STACKWEB_HOME": str(self.home), "STACKWEB_PORT": str(self.port.port)}
        self.environment = kept | own | settings
        self.process: subprocess.Popen[bytes] | None = None

    def up(self) -> None:
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [Path(sys.executable).with_name("stackweb"), "up"],
                env=self.environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        wait_for(
            lambda: "Ctrl-C stops everything" in self.printed() or self.process.poll(), START_SECONDS, self.printed
        )  # type: ignore[union-attr]
        assert self.process.poll() is None, self.printed()
        token = (self.home / "admin-token").read_text().strip()
        self.api = httpx.Client(
            base_url=f"{self.url}/api/v1/", headers={"Authorization": f"Bearer {token}"}, timeout=30
        )

    def down(self) -> int:
        """The exit code of `stackweb up`."""
        assert self.process is not None
        self.api.close()
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(120)
        self.port.release()
        return code

    def printed(self) -> str:
        return self.output.read_text(errors="replace")

    def services(self) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads((self.home / "run" / "services.json").read_text())
        return facts

    def processes(self) -> list[psutil.Process]:
        """By working folder, command line or environment: every process that belongs to this home."""
        found = []
        for process in psutil.process_iter():
            try:
                traces = [process.cwd(), *process.cmdline(), process.environ().get("STACKWEB_HOME", "")]
            except psutil.Error:
                continue
            if any(str(self.home) in trace for trace in traces) and process.pid != os.getpid():
                found.append(process)
        return found

    # Over HTTP

    def get(self, path: str, **params: Any) -> Any:
        answer = self.api.get(path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, body: dict[str, Any], **headers: str) -> Any:
        answer = self.api.post(path, json=body, headers=headers)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()

    def job_in(self, job_id: str, *states: str, seconds: float = 60) -> Any:
        """The job once its status is one of `states`; fails at once when it ended otherwise."""
        found: dict[str, Any] = {}

        def is_there() -> bool:
            found.update(self.get(f"jobs/{job_id}"))
            assert found["status"] in states or found["finished_at"] is None, f"{found['reason']}: {found['cause']}"
            return found["status"] in states

        wait_for(is_there, seconds, lambda: json.dumps(found, indent=1))
        return found

    def log_of(self, job_id: str) -> str:
        return str(self.get(f"jobs/{job_id}/logs")["text"])


class Broker:
    """A Valkey outside of `stackweb up`, so that a test may stop it and nobody starts it again."""

    def __init__(self, folder: Path) -> None:
        self.port = HeldPort()
        self.server = Valkey(folder / "broker", self.port.port, "broker-of-the-flow-tests")
        self.log = folder / "broker.log"
        self.start()

    def start(self) -> None:
        self.process = running.start(self.server, self.log)
        running.wait_until_ready(self.server, self.process, self.log)

    def stop(self) -> None:
        running.stop(self.server, self.process)

    def close(self) -> None:
        self.stop()
        self.port.release()


def wait_for(is_true: Callable[[], object], seconds: float, what: Callable[[], str]) -> None:
    """Polls until `is_true()`; after `seconds` the test fails with what `what()` says."""
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what()}"
        time.sleep(0.2)


def is_alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
