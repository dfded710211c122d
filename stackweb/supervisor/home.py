"""STACKWEB_HOME: the one folder that holds all state. Who runs on it, its passwords and its ports."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from pathlib import Path
from typing import Any

from stackweb.embedded.ports import HeldPort


class UpError(Exception):
    """Stackweb cannot come up; the message says why and what to change."""


class Home:
    """The folder and what lies where in it. Made 0700; an existing folder keeps its permissions."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run = path / "run"
        self.logs = path / "logs"
        self.services = self.run / "services.json"
        self.worker_config = path / "host" / "worker.json"
        self._lock = -1
        self._held: list[HeldPort] = []

    @classmethod
    def from_environment(cls) -> Home:
        return cls(Path(os.environ.get("STACKWEB_HOME") or "~/.stackweb").expanduser().absolute())

    def make(self) -> None:
        """Raises UpError when the folder cannot be made or written."""
        try:
            for folder in (self.path, self.run, self.logs):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            (self.run / "lock").touch(mode=0o600)
        except OSError as error:
            raise UpError(
                f"STACKWEB_HOME is {self.path}, which cannot be used: {error.strerror}. "
                "Set STACKWEB_HOME to a folder that you may write."
            ) from error

    def lock(self) -> None:
        """Held until this process ends, however it ends. Raises UpError naming who holds it."""
        self._lock = os.open(self.run / "lock", os.O_RDWR)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            running = self.read_services()
            raise UpError(
                f"Stackweb already runs on {self.path} (process {self._holder()}"
                f"{', ' + running['web_url'] if 'web_url' in running else ''}). Stop it first, or set "
                "STACKWEB_HOME and STACKWEB_PORT for a second one."
            ) from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, str(os.getpid()).encode(), 0)

    def unlock(self) -> None:
        for held in self._held:
            held.release()
        os.close(self._lock)

    def is_locked(self) -> bool:
        """True when some process runs Stackweb on this home."""
        try:
            descriptor = os.open(self.run / "lock", os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def _holder(self) -> str:
        return (self.run / "lock").read_text().strip() or "unknown"

    def password(self, name: str) -> str:
        """Made once, kept in a file that only its owner reads."""
        path = self.path / "secrets" / name
        if not path.exists():
            path.parent.mkdir(mode=0o700, exist_ok=True)
            write_private(path, secrets.token_urlsafe(32))
        return path.read_text().strip()

    def port(self, name: str) -> int:
        """The port this server had last time where it is still free, else another one; kept for it."""
        path = self.run / "ports.json"
        known = json.loads(path.read_text()) if path.exists() else {}
        held = HeldPort(known.get(name, 0))
        write_private(path, json.dumps({**known, name: held.port}))
        self._held.append(held)
        return held.port

    def write_services(self, **facts: Any) -> None:
        """database_url, redis_url, web_url, pids: what manage.py and `stackweb status` read."""
        write_private(self.services, json.dumps(facts, indent=1))

    def read_services(self) -> dict[str, Any]:
        """Empty when Stackweb does not run on this home."""
        try:
            facts: dict[str, Any] = json.loads(self.services.read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return facts


def write_private(path: Path, text: str) -> None:
    """Replaces a file in one step, readable by its owner only."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    fresh.replace(path)
