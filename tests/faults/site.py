"""A Stackweb of which every part can be killed alone: Postgres, Valkey, web and control worker."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psycopg
import redis

from stackweb.embedded import running
from stackweb.embedded.identity import EmbeddedError
from stackweb.embedded.ports import HeldPort
from stackweb.embedded.postgres import Postgres
from stackweb.embedded.valkey import Valkey
from stackweb.supervisor.programs import CONTROL, PYTHON, WEB

ROOT = Path(__file__).parents[2]
# Crashes of the process are part of the rig, a power cut is not: commits must survive, not the disk.
POSTGRES_SETTINGS = ("fsync=off", "full_page_writes=off")
OWN = ("STACKWEB_", "DATABASE_URL", "REDIS_URL", "DJANGO_", "FAULTS_")
STUCK = """
    SELECT a.pid, a.client_port, a.state, now() - a.state_change, l.locktype, l.classid, l.objid, l.granted,
        pg_blocking_pids(a.pid), left(a.query, 120)
    FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE (l.locktype = 'advisory' OR NOT l.granted) AND a.pid <> pg_backend_pid()
"""
PASSWORD = "only-on-loopback"


class NotInTime(Exception):
    """Something that should have come did not; the text says what."""


def wait_for(is_true: Callable[[], object], seconds: float, what: str) -> float:
    """Seconds until `is_true()`. Raises NotInTime."""
    since = time.monotonic()
    while not is_true():
        if time.monotonic() - since > seconds:
            raise NotInTime(f"not within {seconds:g} s: {what}")
        time.sleep(0.2)
    return time.monotonic() - since


class Site:
    """`start` once; then any of `parts` may be killed and started again. Not hastened: at the product's own pace."""

    def __init__(self, folder: Path, is_hastened: bool = True) -> None:
        self.folder, self.is_hastened = folder, is_hastened
        self.home = folder / "home"
        self.ports = [HeldPort() for _ in range(3)]
        web, postgres, valkey = (held.port for held in self.ports)
        self.url = f"http://127.0.0.1:{web}"
        self.postgres = Postgres(folder / "postgres", postgres, PASSWORD, POSTGRES_SETTINGS)
        self.valkey = Valkey(folder / "valkey", valkey, PASSWORD)
        settings = "tests.faults.settings" if is_hastened else "stackweb.settings"
        clean = {name: value for name, value in os.environ.items() if not name.startswith(OWN)}
        self.env = clean | {
            "STACKWEB_HOME": str(self.home), "STACKWEB_PORT": str(web), "STACKWEB_URL": self.url,
            "STACKWEB_FAKE_ENGINES": "1", "DATABASE_URL": self.postgres.url, "REDIS_URL": self.valkey.url,
            "DJANGO_SETTINGS_MODULE": settings, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1",
        }  # fmt: skip
        web_argv, control_argv = WEB, CONTROL
        if is_hastened:
            web_argv = [part.replace("stackweb.asgi", "tests.faults.asgi") for part in WEB]
            control_argv = [part.replace("stackweb.celery", "tests.faults.control") for part in CONTROL]
        self.argv = {
            "web": [*PYTHON, *web_argv, "--port", str(web), "--timeout-graceful-shutdown", "5"],
            "control": [*PYTHON, *control_argv, "--schedule", str(folder / "beat")],
        }
        self.parts: dict[str, subprocess.Popen[bytes]] = {}
        self.ended: set[str] = set()  # by the rig
        self.deaths: list[str] = []  # parts that ended by themselves
        self.must_stop = threading.Event()
        self.keeper = threading.Thread(target=self.keep, daemon=True)
        self.api = httpx.Client(base_url=f"{self.url}/api/v1/", timeout=20)

    def start(self) -> None:
        self.home.mkdir(mode=0o700, parents=True)
        self.begin("postgres")
        self.begin("valkey")
        self.manage("migrate", "--noinput")
        self.manage("prepare_install", "--without-host")
        self.begin("web")
        self.begin("control")
        self.keeper.start()
        self.api.headers["Authorization"] = f"Bearer {(self.home / 'admin-token').read_text().strip()}"

    def manage(self, *command: str) -> None:
        done = subprocess.run([*PYTHON, "django", *command], env=self.env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{command}: {done.stdout}{done.stderr}")

    def begin(self, name: str) -> None:
        """Starts a part that does not run, and waits until it answers."""
        log = self.folder / f"{name}.log"
        if name in ("postgres", "valkey"):
            server: running.Server = self.postgres if name == "postgres" else self.valkey
            self.parts[name] = running.start(server, log)
            running.wait_until_ready(server, self.parts[name], log)
            self.ended.discard(name)
            return
        with log.open("ab") as output:
            self.parts[name] = subprocess.Popen(
                self.argv[name], env=self.env, cwd=self.folder, stdin=subprocess.DEVNULL,
                stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        if name == "web":
            wait_for(self.answers, 60, f"web answers; its log is {log}")
        self.ended.discard(name)

    def keep(self) -> None:
        """As `stackweb up` and compose do: what ends by itself starts again after a second."""
        while not self.must_stop.wait(1.0):
            for name, process in list(self.parts.items()):
                if process.poll() is not None and name not in self.ended and not self.must_stop.is_set():
                    self.deaths.append(f"{name} with {process.returncode}")
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)  # beat
                    with contextlib.suppress(NotInTime, EmbeddedError):
                        self.begin(name)

    def end(self, name: str, number: int = signal.SIGKILL) -> None:
        self.ended.add(name)
        process = self.parts[name]
        if name == "control" and number == signal.SIGKILL:  # beat is a child of its own
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
        elif process.poll() is None:
            process.send_signal(number)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def heal(self) -> None:
        for name, process in list(self.parts.items()):
            if process.poll() is not None and name in self.ended:
                self.begin(name)

    def stop(self) -> None:
        self.must_stop.set()
        if self.keeper.ident is not None:
            self.keeper.join(70)
        for name in ("control", "web", "valkey", "postgres"):
            if name in self.parts:
                gentle = signal.SIGQUIT if name == "postgres" else signal.SIGKILL
                self.end(name, gentle)
        self.api.close()
        for held in self.ports:
            held.release()

    # What it says

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/healthz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def get(self, path: str, **params: Any) -> Any:
        return self.patiently("GET", path, params=params)

    def post(self, path: str, body: dict[str, Any], key: str = "") -> Any:
        return self.patiently("POST", path, json=body, headers={"Idempotency-Key": key} if key else {})

    def patiently(self, method: str, path: str, **request: Any) -> Any:
        """While something is down, the same is asked again for a minute. Raises NotInTime."""
        deadline = time.monotonic() + 60
        while True:
            trouble = ""
            try:
                answer = self.api.request(method, path, **request)
                if answer.is_success:
                    return answer.json()
                trouble = f"{answer.status_code} {answer.text[:200]}"
            except httpx.TransportError as error:
                trouble = repr(error)
            if time.monotonic() > deadline:
                raise NotInTime(f"{method} {path}: {trouble}")
            time.sleep(0.3)

    def all(self, path: str, **params: Any) -> list[Any]:
        rows, cursor = [], None
        while True:
            page = self.get(path, limit=200, **params, **({"cursor": cursor} if cursor else {}))
            rows += page["items"]
            cursor = page["next"]
            if not cursor:
                return rows

    def why_stuck(self) -> str:
        """Who waits for whom in the database, and how long the broker's queues are."""
        try:
            with psycopg.connect(self.postgres.url, connect_timeout=5) as connection:
                rows = connection.execute(STUCK).fetchall()
            with self.broker() as broker:
                queues = {key.decode(): broker.llen(key) for key in broker.keys("*") if broker.type(key) == b"list"}
        except (psycopg.Error, redis.RedisError) as error:
            return repr(error)
        return "\n".join(["locks and sessions:", *map(str, rows), f"queues: {queues}"])

    def broker(self) -> redis.Redis:
        return redis.Redis.from_url(self.valkey.url, socket_timeout=5)
