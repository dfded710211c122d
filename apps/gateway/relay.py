"""An answer on its way from the engine to the client, piece by piece."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

from apps.gateway.body import EventStream
from apps.gateway.meter import CLIENT_GONE, ENGINE_GONE, Meter
from apps.gateway.upstream import UpstreamAnswer, UpstreamGone


class StreamRelay:
    """Iterate it, then `aclose()` it, however far it got: that frees the engine and writes the usage."""

    def __init__(self, held: AsyncExitStack, answer: UpstreamAnswer, meter: Meter, events: EventStream) -> None:
        self._held, self._meter, self._events = held, meter, events
        self._status = answer.status
        self._chunks = answer.chunks()
        self._is_over = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while not self._is_over:
            try:
                out = self._events.feed(await anext(self._chunks))
            except StopAsyncIteration:
                out = self._finish()
            except UpstreamGone as gone:
                out = self._break_off(gone)
            if out:
                if self._events.events:
                    self._meter.first_piece()
                if b"data: [DONE]" in out:  # the last bytes: what they cost is written down before they go
                    self._write(self._status)
                return out
        raise StopAsyncIteration

    def _finish(self) -> bytes:
        self._is_over = True
        out = self._events.end()
        self._write(self._status)
        return out

    def _break_off(self, gone: UpstreamGone) -> bytes:
        self._is_over = True
        self._write(ENGINE_GONE)
        error = {"message": f"The engine broke off: {gone}.", "type": "api_error", "param": None, "code": None}
        return b"data: " + json.dumps({"error": error}).encode() + b"\n\n"

    def _write(self, status: int) -> None:
        self._meter.write(status, self._events.usage, pieces=self._events.events)

    async def aclose(self) -> None:
        self._is_over = True
        self._write(CLIENT_GONE)  # changes nothing when the answer was whole
        await self._held.aclose()
