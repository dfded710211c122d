"""The gateway of this process: one for each event loop, made on the first request."""

from __future__ import annotations

import asyncio

from django.conf import settings
from django.db import connection

from apps.gateway.core import Gateway
from apps.gateway.directory import Directory, Snapshot
from apps.gateway.metering import Spool
from apps.gateway.snapshots import load_snapshot
from apps.gateway.upstream import Upstream


class _Running:
    def __init__(self) -> None:
        self.upstream = Upstream()
        self.directory = Directory(_load_off_the_loop)
        self.spool = Spool(settings.SPOOL_DIR)
        self.gateway = Gateway(self.directory, self.upstream, self.spool)


_by_loop: dict[asyncio.AbstractEventLoop, _Running] = {}


def gateway_of_this_loop() -> Gateway:
    loop = asyncio.get_running_loop()
    if loop not in _by_loop:
        _by_loop[loop] = _Running()
    return _by_loop[loop].gateway


async def stop_gateway_of_this_loop() -> None:
    running = _by_loop.pop(asyncio.get_running_loop(), None)
    if running is not None:
        await running.directory.close()
        await running.upstream.close()
        running.spool.close()


async def _load_off_the_loop() -> Snapshot:
    return await asyncio.to_thread(_load)


def _load() -> Snapshot:
    try:
        return load_snapshot()
    finally:
        connection.close()  # this thread belongs to no request that would give it back
