"""R22: web and gateway restart while a hundred completions stream. Each is drained or ends in an error that its
client can see, and what is recorded is what the engine told."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.conf import settings
from django.db import connection

from apps.fleet.local_host import host_name
from apps.gateway.metering import SPOOL_GLOB
from apps.gateway.models import UsageRecord
from apps.gateway.services import create_virtual_key, flush_usage
from stackweb.embedded.ports import HeldPort
from stackweb.supervisor.programs import PYTHON, WEB
from tests.factories import make_host, make_live_endpoint, make_team, make_user
from tests.gateway.engine import PIECES, USAGE, Engine, running_engine

ROOT = Path(__file__).parents[2]
DONE, HELD, LINGERING = 20, 50, 30  # over before the restart, over within its grace, and longer than that
GRACE_SECONDS = "5"
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow, pytest.mark.timeout(300)]


@dataclass
class Seen:
    """What one client got."""

    said: str
    pieces: int = 0
    is_whole: bool = False
    error: str = ""


class Site:
    """The product's web process on the test's database, with a spool of its own."""

    def __init__(self, home: Path, port: int) -> None:
        self.home, self.port, self.url = home, port, f"http://127.0.0.1:{port}"
        database = os.environ["DATABASE_URL"].rpartition("/")[0] + f"/{connection.settings_dict['NAME']}"
        self.env = os.environ | {"STACKWEB_HOME": str(home), "DATABASE_URL": database}
        self.env |= {"STACKWEB_SECRET_KEY": settings.SECRET_KEY, "PYTHONPATH": str(ROOT)}
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def spool(self) -> Path:
        return self.home / "spool"

    def start(self) -> None:
        argv = [*PYTHON, *WEB, "--port", str(self.port), "--timeout-graceful-shutdown", GRACE_SECONDS]
        with (self.home / "web.log").open("ab") as log:
            self.process = subprocess.Popen(argv, env=self.env, cwd=self.home, stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while not self.answers():
            assert time.monotonic() < deadline, (self.home / "web.log").read_text()
            time.sleep(0.1)

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/healthz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def end(self, number: int) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(30)


@contextmanager
def site_of(home: Path) -> Iterator[Site]:
    held = HeldPort()
    site = Site(home, held.port)
    try:
        site.start()
        yield site
    finally:
        site.end(signal.SIGKILL)
        held.release()


def test_a_connection_that_a_worker_still_keeps_is_open_here_too(tmp_path: Path) -> None:
    """A worker keeps an idle one for 5 s. At 5 s here too, a call could meet a server that was just closing it."""
    with site_of(tmp_path) as site, closing(http.client.HTTPConnection("127.0.0.1", site.port, timeout=10)) as kept:
        for seconds_idle in (6, 0):
            kept.request("GET", "/healthz")
            assert kept.getresponse().read()
            kept.auto_open = 0  # type: ignore[assignment]  # from now on a closed one is an error
            time.sleep(seconds_idle)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["asked to end", "killed"])
def test_r22_a_restart_drains_or_says_so_and_usage_is_the_engines(number: int, tmp_path: Path, redis_url: str) -> None:
    team = make_team()
    key = create_virtual_key(team=team, user=make_user(team=team), name="app")[1].plain
    with HeldPort() as engine, site_of(tmp_path) as site:
        make_live_endpoint(team, make_host(host_name(socket.gethostname())), port=engine.port)
        seen, told = asyncio.run(restart_amid_streams(site, engine.port, key, number))
    assert_each_client_knows(seen, is_asked=number == signal.SIGTERM)
    assert flush_usage(tmp_path / "spool") == len(told)
    assert flush_usage(tmp_path / "spool") == 0
    assert_usage_is_exact(seen, is_asked=number == signal.SIGTERM)


async def restart_amid_streams(site: Site, port: int, key: str, number: int) -> tuple[list[Seen], list[Any]]:
    """What the clients got, and the lines of the spool."""
    async with running_engine(port) as engine, client_of(site.url, key) as http:
        seen = [Seen("hello") for _ in range(DONE)]
        await asyncio.gather(*(follow(http, each) for each in seen))
        assert all(each.is_whole for each in seen), seen
        late = [Seen("hold") for _ in range(HELD)] + [Seen("linger") for _ in range(LINGERING)]
        streams = [asyncio.create_task(follow(http, each)) for each in late]
        while not all(each.pieces == len(PIECES) for each in late):
            await asyncio.sleep(0.05)
        await restart(site, engine, number)
        await asyncio.gather(*streams)
        after = Seen("hello")
        await follow(http, after)
        assert after.is_whole, "the new process does not answer"
    lines = [json.loads(line) for path in site.spool.glob(SPOOL_GLOB) for line in path.read_text().splitlines()]
    return [*seen, *late, after], lines


def client_of(url: str, key: str) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=None)
    return httpx.AsyncClient(
        base_url=url, headers={"Authorization": f"Bearer {key}"}, limits=limits, timeout=60
    )  # fmt: skip


async def restart(site: Site, engine: Engine, number: int) -> None:
    """The engine goes on as soon as the old process is told to end; the new one starts when that is gone."""
    ending = asyncio.create_task(asyncio.to_thread(site.end, number))
    await asyncio.sleep(0.5)
    engine.go_on.set()
    await ending
    await asyncio.to_thread(site.start)


async def follow(http: httpx.AsyncClient, seen: Seen) -> None:
    body = {"model": "chat", "stream": True, "messages": [{"role": "user", "content": seen.said}]}
    try:
        async with http.stream("POST", "/v1/chat/completions", json=body) as answer:
            async for line in answer.aiter_lines():
                seen.pieces += '"content"' in line
                seen.is_whole = seen.is_whole or line == "data: [DONE]"
                seen.error = line if '"error"' in line else seen.error
    except httpx.TransportError as error:
        seen.error = repr(error)


def assert_each_client_knows(seen: list[Seen], *, is_asked: bool) -> None:
    """An answer that merely stops would be taken for a whole one."""
    assert [each for each in seen if each.is_whole == bool(each.error)] == []
    whole = Counter(each.said for each in seen if each.is_whole)
    assert whole == Counter(hello=DONE + 1) + (Counter(hold=HELD) if is_asked else Counter())


def assert_usage_is_exact(seen: list[Seen], *, is_asked: bool) -> None:
    """Exactly the engine's own count for every whole answer; for one that was cut, the pieces that were passed on.

    A killed process writes nothing of what it had not finished; none of that was a whole answer.
    """
    whole = sum(each.is_whole for each in seen)
    exact = list(UsageRecord.objects.filter(is_exact=True).values_list("prompt_tokens", "completion_tokens"))
    assert exact == [(USAGE["prompt_tokens"], USAGE["completion_tokens"])] * whole
    cut = list(UsageRecord.objects.filter(is_exact=False).values_list("status", "completion_tokens"))
    assert cut == ([(499, len(PIECES))] * LINGERING if is_asked else [])
