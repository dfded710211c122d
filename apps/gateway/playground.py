"""The playground's chat: the browser's words made into one request of the gateway's core."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from django.http import HttpResponse, StreamingHttpResponse

from apps.gateway.answers import Refusal
from apps.gateway.running import gateway_of_this_loop

MAX_MESSAGES, MAX_TOKENS = 100, 4096


class _Message(msgspec.Struct, forbid_unknown_fields=True):
    role: str
    content: str


class _Chat(msgspec.Struct, forbid_unknown_fields=True):
    """Only what the page sends; nothing else reaches an engine from here."""

    messages: list[_Message]
    stream: bool = True
    temperature: float | None = None
    max_tokens: int | None = None


def chat_body(sent: bytes, *, model: str) -> bytes:
    """The request as the engine gets it. Raises Refusal 400 naming what is wrong."""
    try:
        chat = msgspec.json.decode(sent, type=_Chat)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Refusal(400, f"The message is not right: {error}.") from None
    if not 1 <= len(chat.messages) <= MAX_MESSAGES:
        raise Refusal(400, f"Send 1 to {MAX_MESSAGES} messages; start again with an empty chat.")
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": message.role, "content": message.content} for message in chat.messages],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": min(chat.max_tokens or 512, MAX_TOKENS),
    }
    if chat.temperature is not None:
        body["temperature"] = chat.temperature
    return json.dumps(body).encode()


async def stream_chat(*, endpoint_id: int, name: str, sent: bytes) -> HttpResponse | StreamingHttpResponse:
    """The engine's answer as it comes; when the browser leaves, the engine stops."""
    try:
        body = chat_body(sent, model=name)
    except Refusal as refusal:
        answer = refusal.answer()
    else:
        answer = await gateway_of_this_loop().chat(endpoint_id=endpoint_id, body=body)
    if answer.chunks is None:
        return HttpResponse(answer.body, status=answer.status, headers=answer.headers)
    return StreamingHttpResponse(_pieces(answer.chunks), status=answer.status, headers=answer.headers)


async def _pieces(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    try:
        async for chunk in chunks:
            yield chunk
    finally:
        await chunks.aclose()  # type: ignore[attr-defined]
