"""`stackweb up` for real: every process, on a home below a folder that only its owner may enter."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from stackweb.embedded.ports import HeldPort, is_free

OWN = {"STACKWEB_HOME", "STACKWEB_PORT", "DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE"}
START_SECONDS = 90


class Up:
    """One `stackweb up` in its own session, with Ctrl-C inherited as ignored, as under nohup."""

    def __init__(self, home: Path, port: int) -> None:
        self.home = home
        self.output = home.parent / "output"
        env = {name: value for name, value in os.environ.items() if name not in OWN}
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                ["sh", "-c", 'trap "" INT; exec "$0" up', Path(sys.executable).with_name("stackweb")],
                env={**env, "STACKWEB_HOME": str(home), "STACKWEB_PORT": str(port)},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def printed(self) -> str:
        return self.output.read_text()

    def wait_until_up(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while "Ctrl-C stops everything" not in self.printed():
            assert self.process.poll() is None, self.printed()
            assert time.monotonic() < deadline, self.printed()
            time.sleep(0.1)

    def services(self) -> dict[str, object]:
        facts: dict[str, object] = json.loads((self.home / "run" / "services.json").read_text())
        return facts

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(100)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A folder in a closed folder. Whatever a failed test left running there is ended."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    yield closed / "home"
    for process in processes_of(closed / "home"):
        process.kill()


def processes_of(home: Path) -> list[psutil.Process]:
    """By working folder, command line or environment: every process that belongs to this home."""
    found = []
    for process in psutil.process_iter():
        try:
            traces = [process.cwd(), *process.cmdline(), process.environ().get("STACKWEB_HOME", "")]
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
        if process.pid != os.getpid() and any(str(home) in trace for trace in traces):
            found.append(process)
    return found


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_up_survives_kill_9_and_stops_without_a_trace(home: Path) -> None:
    with HeldPort() as web:
        first = Up(home, web.port)
        first.wait_until_up()
        services = first.services()
        assert re.search(rf"http://127\.0\.0\.1:{web.port}/claim/\S+", first.printed()), first.printed()
        with urllib.request.urlopen(f"http://127.0.0.1:{web.port}/healthz") as answer:
            assert answer.status == 200
        token = (home / "admin-token").read_text()
        for secret in ("admin-token", "run/services.json", "secret-key", "host/worker.json"):
            assert (home / secret).stat().st_mode & 0o777 == 0o600, secret
        with psycopg.connect(str(services["database_url"])) as connection:
            connection.execute("create table kept as select 42 as answer")

        second = Up(home, web.port)
        assert second.process.wait(30) == 1
        assert f"already runs on {home} (process {first.process.pid}" in second.printed()

        before = {process.pid for process in processes_of(home)} - {first.process.pid}
        first.process.kill()
        first.process.wait()
        assert before <= {process.pid for process in processes_of(home)}, "kill -9 takes nobody along"

        again = Up(home, web.port)
        again.wait_until_up()
        assert "of an earlier start" in again.printed()
        assert not before & {process.pid for process in processes_of(home)}, "the old processes are gone"
        assert (home / "admin-token").read_text() == token
        with psycopg.connect(str(again.services()["database_url"])) as connection:
            assert connection.execute("select answer from kept").fetchone() == (42,)

        assert again.interrupt() == 0, again.printed()
        assert processes_of(home) == []
    ports = json.loads((home / "run" / "ports.json").read_text()).values()
    assert [port for port in (web.port, *ports) if not is_free(port)] == []


@pytest.mark.timeout(120)
def test_taken_port_is_said_before_anything_starts(home: Path) -> None:
    with HeldPort() as taken:
        taken.listen()
        up = Up(home, taken.port)
        assert up.process.wait(60) == 1
    assert f"Port {taken.port} on 127.0.0.1 is taken" in up.printed()
    assert not (home / "postgres").exists()


@pytest.mark.timeout(120)
def test_ctrl_c_while_starting_leaves_nothing(home: Path) -> None:
    with HeldPort() as web:
        up = Up(home, web.port)
        deadline = time.monotonic() + 30
        while not (home / "run" / "postgres.pid").exists():
            assert time.monotonic() < deadline, up.printed()
            time.sleep(0.01)
        assert up.interrupt() == 0, up.printed()
    assert processes_of(home) == []
