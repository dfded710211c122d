"""The way to an engine: a pool of loopback connections."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Protocol

import aiohttp

CONNECT_SECONDS, SILENCE_SECONDS = 3.0, 600.0
# Below the engines' own 5 s, so that we never write on a connection that they are closing.
KEEP_ALIVE_SECONDS = 3.0


class UpstreamGone(Exception):
    """The engine did not answer, or broke off; the message says how. `may_retry`: it never began."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error) or type(error).__name__)
        self.may_retry = isinstance(error, aiohttp.ClientConnectorError | aiohttp.ServerDisconnectedError)


class UpstreamAnswer(Protocol):
    status: int
    content_type: str

    async def read(self) -> bytes: ...
    def chunks(self) -> AsyncIterator[bytes]: ...


class _Answer:
    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.content_type = response.headers.get("content-type", "application/json")

    async def read(self) -> bytes:
        try:
            return await self._response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise UpstreamGone(error) from error

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            async for data in self._response.content.iter_any():
                yield data
        except (aiohttp.ClientError, TimeoutError) as error:
            raise UpstreamGone(error) from error


class Upstream:
    """One per event loop: aiohttp ties its connections to the loop that opened them."""

    def __init__(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_SECONDS),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )

    @asynccontextmanager
    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> AsyncIterator[UpstreamAnswer]:
        """Leaving the block before the answer's end closes the connection, which aborts the engine's work.

        Raises UpstreamGone when no answer began.
        """
        try:
            response = await self._session.post(url, data=body, headers=dict(headers), allow_redirects=False)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise UpstreamGone(error) from error
        try:
            yield _Answer(response)
        finally:
            if response.content.at_eof():
                response.release()
            else:
                response.close()

    async def close(self) -> None:
        await self._session.close()
