"""The gateway's core and its ASGI front on a stand-in directory, with real connections to an engine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from apps.accounts.tokens import digest_token
from apps.gateway.asgi import respond
from apps.gateway.core import Gateway
from apps.gateway.directory import Directory, EndpointFacts, KeyFacts, ReplicaFacts, RouteFacts, Snapshot
from apps.gateway.metering import SPOOL_GLOB, Spool
from apps.gateway.upstream import Upstream

KEY, LIMITED, STRANGER = "sk-sw-alice", "sk-sw-limited", "sk-sw-carol"
HELLO = [{"role": "user", "content": "hello"}]


def endpoint(name: str, *urls: str, number: int = 1, **fields: Any) -> EndpointFacts:
    replicas = tuple(ReplicaFacts(f"attempt-{url}", url) for url in urls)
    return EndpointFacts(number, 1, name, fields.pop("served_name", name), replicas, **fields)


def snapshot_of(*endpoints: EndpointFacts) -> Snapshot:
    keys = {
        digest_token(KEY): KeyFacts(1, 1, None),
        digest_token(LIMITED): KeyFacts(2, 1, 2),
        digest_token(STRANGER): KeyFacts(3, 2, None),
    }
    routes = {each.name: RouteFacts(each.name, 0, ((each, 100),)) for each in endpoints}
    return Snapshot(keys, {1: routes}, {each.endpoint_id: each for each in endpoints})


@dataclass
class Reply:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    parts: list[bytes] = field(default_factory=list)

    @property
    def json(self) -> Any:
        return json.loads(b"".join(self.parts))

    @property
    def events(self) -> list[str]:
        return [part.removeprefix("data: ") for part in b"".join(self.parts).decode().split("\n\n") if part]


class Client:
    """Speaks ASGI to the front; `leave_after` pieces, or at an event, it hangs up."""

    def __init__(self, gateway: Gateway, spool: Path) -> None:
        self._gateway, self._spool = gateway, spool

    async def send(
        self, path: str, body: Any = None, *, key: str = KEY, leave_after: int | None = None,
        leave_when: asyncio.Event | None = None,
        headers: tuple[tuple[bytes, bytes], ...] = (), method: str = "",
    ) -> Reply:  # fmt: skip
        data = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else b""
        reply, gone = Reply(), asyncio.Event()
        waiting = [{"type": "http.request", "body": data, "more_body": False}]

        async def receive() -> Any:
            if waiting:
                return waiting.pop(0)
            await (leave_when or gone).wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                reply.status = message["status"]
                reply.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            elif message["body"]:
                reply.parts.append(message["body"])
                if leave_after is not None and len(reply.parts) >= leave_after:
                    gone.set()

        scope = {
            "type": "http", "method": method or ("GET" if body is None else "POST"), "path": path,
            "headers": [(b"authorization", f"Bearer {key}".encode()), *headers],
        }  # fmt: skip
        await asyncio.wait_for(respond(self._gateway, scope, receive, send), 10)
        return reply

    async def chat(self, said: str = "hello", *, model: str = "chat", **fields: Any) -> Reply:
        extra = {name: fields.pop(name) for name in ("key", "leave_after", "leave_when") if name in fields}
        messages = [{"role": "user", "content": said}]
        return await self.send("/v1/chat/completions", {"model": model, "messages": messages} | fields, **extra)

    def metered(self) -> list[dict[str, Any]]:
        return [json.loads(line) for path in self._spool.glob(SPOOL_GLOB) for line in path.read_text().splitlines()]


@asynccontextmanager
async def client_of(spool: Path, *endpoints: EndpointFacts) -> AsyncIterator[Client]:
    upstream, book = Upstream(), Spool(spool)

    async def load() -> Snapshot:
        return snapshot_of(*endpoints)

    directory = Directory(load)
    try:
        yield Client(Gateway(directory, upstream, book), spool)
    finally:
        await directory.close()
        await upstream.close()
        book.close()
