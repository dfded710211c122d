"""What the gateway must know of the database, held in memory: keys, routes, and which replicas are ready.

A request never waits for the database while the copy is younger than MAX_AGE_SECONDS; that age is also
how long a revoked key may still work. While the database is away the last copy is used.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from apps.gateway.answers import Refusal

logger = logging.getLogger(__name__)

REFRESH_SECONDS, MAX_AGE_SECONDS, LOAD_TIMEOUT_SECONDS = 0.4, 0.9, 5.0


@dataclass(frozen=True, slots=True)
class KeyFacts:
    key_id: int
    team_id: int
    requests_per_minute: int | None


@dataclass(frozen=True, slots=True)
class ReplicaFacts:
    """An engine that answers: its attempt, and where it listens."""

    attempt: str
    url: str


@dataclass(frozen=True, slots=True)
class EndpointFacts:
    """`why_not` and `retry_after_seconds` matter while no replica is ready."""

    endpoint_id: int
    team_id: int
    name: str
    served_name: str
    replicas: tuple[ReplicaFacts, ...] = ()
    why_not: str = ""
    retry_after_seconds: int = 5


@dataclass(frozen=True, slots=True)
class RouteFacts:
    name: str
    created_at: int  # Unix seconds
    targets: tuple[tuple[EndpointFacts, int], ...]  # with their weights


@dataclass(frozen=True, slots=True)
class Snapshot:
    keys: dict[str, KeyFacts] = field(default_factory=dict)  # by digest
    routes: dict[int, dict[str, RouteFacts]] = field(default_factory=dict)  # team -> name -> route
    endpoints: dict[int, EndpointFacts] = field(default_factory=dict)


class Directory:
    def __init__(self, load: Callable[[], Awaitable[Snapshot]], clock: Callable[[], float] = time.monotonic) -> None:
        self._load, self._clock = load, clock
        self._snapshot: Snapshot | None = None
        self._at = float("-inf")
        self._refresh: asyncio.Task[None] | None = None

    async def snapshot(self) -> Snapshot:
        """The newest copy. Raises Refusal 503 when there never was one."""
        age = self._clock() - self._at
        if age > REFRESH_SECONDS and (self._refresh is None or self._refresh.done()):
            self._refresh = asyncio.create_task(self._reload())
        if age > MAX_AGE_SECONDS and self._refresh is not None:
            await asyncio.wait([self._refresh], timeout=LOAD_TIMEOUT_SECONDS)
        if self._snapshot is None:
            raise Refusal(503, "The gateway cannot read its database.", kind="api_error", retry_after_seconds=5)
        return self._snapshot

    async def _reload(self) -> None:
        started = self._clock()
        try:
            fresh = await self._load()
        except Exception as error:
            logger.warning("gateway keeps its last copy of keys and routes: %s", error)
            # Do not make every request wait while the database is away.
            self._at = self._clock() - REFRESH_SECONDS
            return
        self._snapshot, self._at = fresh, started

    async def close(self) -> None:
        if self._refresh is not None:
            self._refresh.cancel()
            await asyncio.wait([self._refresh])
