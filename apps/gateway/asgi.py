"""The gateway's raw ASGI front: mounted before Django, never through it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

from apps.gateway.answers import Answer, Refusal
from apps.gateway.body import MAX_BODY_BYTES
from apps.gateway.core import Call, Gateway
from apps.gateway.running import gateway_of_this_loop, stop_gateway_of_this_loop

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
CUT_SECONDS = 1.0  # what the server cut off gets this long to write down its usage
_answering: set[asyncio.Task[None]] = set()


async def gateway_application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers one HTTP request to /v1."""
    await respond(gateway_of_this_loop(), scope, receive, send)


async def respond(gateway: Gateway, scope: Scope, receive: Receive, send: Send) -> None:
    """When the client goes away before the end, the work behind its request ends at once."""
    body = _Body(scope, receive)
    work = asyncio.create_task(_answer(gateway, scope, body, send))
    _answering.add(work)
    work.add_done_callback(_answering.discard)
    gone = asyncio.create_task(body.client_gone())
    try:
        await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        gone.cancel()
        if not work.done():
            work.cancel()
            await asyncio.wait({work})
    if not work.cancelled():
        work.result()


async def gateway_lifespan(receive: Receive, send: Send) -> None:
    """Closes the connections to engines when the server stops, after what it cut off is metered."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.shutdown":
            if cut := {work for work in _answering if work.get_loop() is asyncio.get_running_loop()}:
                await asyncio.wait(cut, timeout=CUT_SECONDS)
            await stop_gateway_of_this_loop()
            await send({"type": "lifespan.shutdown.complete"})
            return
        await send({"type": "lifespan.startup.complete"})


async def _answer(gateway: Gateway, scope: Scope, body: _Body, send: Send) -> None:
    headers = dict(scope["headers"])
    authorization = headers.get(b"authorization", b"").decode("latin-1")
    answer = await gateway.handle(Call(scope["method"], scope["path"], authorization, body.read))
    try:
        await _send(answer, send)
    finally:
        if answer.chunks is not None:
            await _close(answer.chunks)


async def _close(chunks: AsyncIterator[bytes]) -> None:
    closing = getattr(chunks, "aclose", None)
    if closing is not None:
        await closing()


async def _send(answer: Answer, send: Send) -> None:
    headers = [(name.encode(), value.encode("latin-1")) for name, value in answer.headers.items()]
    if answer.chunks is None:
        headers.append((b"content-length", str(len(answer.body)).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    if answer.chunks is not None:
        async for chunk in answer.chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": answer.body, "more_body": False})


class _Body:
    """The request's body, and then the news that the client is gone."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._receive = receive
        length = dict(scope["headers"]).get(b"content-length", b"0")
        self._announced = int(length) if length.isdigit() else 0
        self._is_read = asyncio.Event()

    async def read(self) -> bytes:
        """Raises Refusal 413 before a body over the limit is in memory."""
        parts: list[bytes] = []
        _check_size(self._announced)
        size, more = 0, True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise asyncio.CancelledError
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            _check_size(size)
            more = message.get("more_body", False)
        self._is_read.set()
        return b"".join(parts)

    async def client_gone(self) -> None:
        await self._is_read.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass


def _check_size(size: int) -> None:
    if size > MAX_BODY_BYTES:
        raise Refusal(413, f"The body is over {MAX_BODY_BYTES // 1024**2} MiB.", code="body_too_large")
