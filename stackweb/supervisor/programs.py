"""What runs: the command line and environment of every part."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from stackweb.embedded.postgres import Postgres
from stackweb.embedded.running import Server
from stackweb.embedded.valkey import Valkey
from stackweb.supervisor.address import Address
from stackweb.supervisor.child import Program
from stackweb.supervisor.home import Home
from stackweb.supervisor.terminal import POSTGRES_TROUBLE, VALKEY_TROUBLE

# The order of starting; stopping goes the other way.
NAMES = ("postgres", "valkey", "web", "control", "worker")
# -P: the home folder, where children run, must not be searched for Python modules.
PYTHON = [sys.executable, "-P", "-m"]
# 75 s: an idle connection is closed by the worker or proxy at its other end (5 s, 60 s), never under its next call.
WEB = [
    *("uvicorn", "stackweb.asgi:application", "--lifespan", "on", "--no-access-log"),
    *("--timeout-keep-alive", "75"),
]
CONTROL = [
    *("celery", "-A", "stackweb.celery", "worker", "-B", "-Q", "control", "--pool=threads"),
    *("--concurrency=4", "--loglevel=WARNING", "--without-gossip", "--without-mingle"),
]
WORKER = ["stackweb-worker", "run", "--end-on-exit"]
# A GPU host has no database password; the worker on this machine is held to that too.
NOT_FOR_WORKERS = ("DATABASE_URL", "REDIS_URL", "STACKWEB_SECRET_KEY", "STACKWEB_WORKER_BROKER_URL")
# The agent gives engines up to 60 s to end, then makes sure.
WORKER_STOP_SECONDS = 75


def environment(home: Home, address: Address, database_url: str, valkey: Valkey | None) -> dict[str, str]:
    """Settings of the web side's processes, on top of what the person set."""
    env = {
        **os.environ,
        "STACKWEB_HOME": str(home.path),
        "STACKWEB_PORT": str(address.port),
        "DATABASE_URL": database_url,
        "DJANGO_SETTINGS_MODULE": "stackweb.settings",
        "PYTHONUNBUFFERED": "1",
    }
    env.setdefault("STACKWEB_URL", address.url)
    env.setdefault("STACKWEB_ALLOWED_HOSTS", ",".join(address.allowed_hosts()))
    if valkey:
        env["REDIS_URL"] = valkey.url
        if address.is_open:
            broker = f"redis://:{quote(valkey.password, safe='')}@{address.public_host}:{valkey.port}/0"
            env.setdefault("STACKWEB_WORKER_BROKER_URL", broker)
    return env


def server_program(name: str, server: Server, home: Home) -> Program:
    """An embedded server. Postgres is never killed outright: QUIT ends it at once and safely."""
    return Program(
        name=name,
        argv=lambda: server.argv,
        environment=dict(os.environ),
        cwd=home.path,
        prepare=server.prepare,
        stop_signal=server.stop_signal,
        stop_seconds=20,
        last_signal=server.hard_stop_signal,
        trouble=POSTGRES_TROUBLE if isinstance(server, Postgres) else VALKEY_TROUBLE,
    )


def own_programs(home: Home, address: Address, env: dict[str, str]) -> list[Program]:
    """Web, control worker, GPU worker: in starting order."""
    web = [*PYTHON, *WEB, "--host", address.bind, "--port", str(address.port)]
    web += ["--timeout-graceful-shutdown", "5"]
    control = [*PYTHON, *CONTROL, "--schedule", str(home.run / "beat-schedule")]
    worker = [str(Path(sys.executable).with_name(WORKER[0])), *WORKER[1:], "--config", str(home.worker_config)]
    worker_env = {name: value for name, value in env.items() if name not in NOT_FOR_WORKERS}
    return [
        Program("web", _always(web), env, home.path),
        Program("control", _always(control), env, home.path),
        Program(
            *("worker", _always(worker), worker_env, home.path),
            stop_seconds=WORKER_STOP_SECONDS,
            is_optional=True,
        ),
    ]


def _always(argv: list[str]) -> Callable[[], list[str]]:
    return lambda: argv
