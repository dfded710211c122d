"""Start an embedded server, wait until it answers, stop it."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path
from typing import Protocol

from stackweb.embedded.identity import EmbeddedError

READY_SECONDS = 60  # a first start takes 0.5 s on an idle machine, 13 s were seen under load


class Server(Protocol):
    """What Postgres and Valkey have in common."""

    folder: Path
    port: int

    @property
    def stop_signal(self) -> signal.Signals: ...
    @property
    def hard_stop_signal(self) -> signal.Signals: ...
    @property
    def argv(self) -> list[str]: ...
    @property
    def url(self) -> str: ...
    def prepare(self) -> None: ...
    def is_ready(self) -> bool: ...


def start(server: Server, log: Path) -> subprocess.Popen[bytes]:
    """Prepares and starts the server in its own session; its output is appended to `log`."""
    server.prepare()
    with log.open("ab") as output:
        return subprocess.Popen(
            server.argv,
            cwd=server.folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def wait_until_ready(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    """Raises EmbeddedError with the log's last lines when it dies or does not answer in time."""
    deadline = time.monotonic() + READY_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if server.is_ready():
            return
        time.sleep(0.05)
    happened = "does not answer" if process.poll() is None else f"ended with code {process.returncode}"
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-5:])
    raise EmbeddedError(f"{type(server).__name__} {happened}; the end of {log}:\n{tail}")


def stop(server: Server, process: subprocess.Popen[bytes], seconds: float = 20) -> None:
    """Asks the server to stop, waits, then kills it."""
    if process.poll() is None:
        process.send_signal(server.stop_signal)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
