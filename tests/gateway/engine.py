"""A small real HTTP engine for the gateway's tests: counts tokens, streams, lingers, breaks off."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

USAGE = {"prompt_tokens": 17, "completion_tokens": 5, "total_tokens": 22}
PIECES = ["On", "ce", " up", "on", "!"]


class Engine:
    """What it does follows from the last message: "linger" never ends, "break" ends too early, "hold" waits
    for `go_on` before its end."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.headers: list[str] = []
        self.arrived, self.aborted = asyncio.Event(), asyncio.Event()
        self.go_on = asyncio.Event()
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                await self._answer(head.decode(), reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        length = int(head.lower().split("content-length: ")[1].split("\r\n")[0])
        body = json.loads(await reader.readexactly(length))
        self.bodies.append(body)
        self.paths.append(head.split(" ")[1])
        self.headers.append(head)
        self.arrived.set()
        said = body["messages"][-1]["content"] if "messages" in body else body["prompt"]
        if said == "refuse":
            return await self._whole(writer, "400 Bad Request", {"object": "error", "message": "too long"})
        if body.get("stream"):
            return await self._stream(said, body, reader, writer)
        if said == "linger":
            await self._linger(reader)
        await self._whole(writer, "200 OK", {"choices": [{"message": {"content": "Once"}}], "usage": USAGE})

    async def _whole(self, writer: asyncio.StreamWriter, status: str, data: Any) -> None:
        text = json.dumps(data).encode()
        writer.write(f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\n".encode())
        writer.write(f"content-length: {len(text)}\r\n\r\n".encode() + text)
        await writer.drain()

    async def _stream(
        self, said: str, body: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n")
        writer.write(b"transfer-encoding: chunked\r\n\r\n")
        for piece in PIECES:
            self._event(writer, {"choices": [{"delta": {"content": piece}}]})
        await writer.drain()
        if said == "linger":
            await self._linger(reader)
            return
        if said == "break":
            writer.close()
            return
        if said == "hold":
            await self.go_on.wait()
        if body.get("stream_options", {}).get("include_usage"):
            self._event(writer, {"choices": [], "usage": USAGE})
        self._chunk(writer, b"data: [DONE]\n\n")
        self._chunk(writer, b"")
        await writer.drain()

    async def _linger(self, reader: asyncio.StreamReader) -> None:
        await reader.read()  # returns when the gateway closes the connection
        self.aborted.set()

    def _event(self, writer: asyncio.StreamWriter, data: Any) -> None:
        self._chunk(writer, b"data: " + json.dumps(data, separators=(",", ":")).encode() + b"\n\n")

    def _chunk(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")


@asynccontextmanager
async def running_engine(port: int = 0) -> AsyncIterator[Engine]:
    engine = Engine()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        await engine.serve(reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    engine.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield engine
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
