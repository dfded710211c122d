"""Byte surgery on requests and answers: as little parsing as the work allows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import msgspec

from apps.gateway.answers import Refusal

MAX_BODY_BYTES = 8 * 1024 * 1024
_EVENT_END = re.compile(rb"\r?\n\r?\n")
_MAX_EVENT_BYTES = 1024 * 1024


class StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class Envelope(msgspec.Struct):
    """The only fields that the gateway reads."""

    model: str
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    @property
    def wants_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)


class Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _WithUsage(msgspec.Struct):
    usage: Usage | None = None
    choices: list[msgspec.Raw] = []


_read_envelope = msgspec.json.Decoder(Envelope)
_read_usage = msgspec.json.Decoder(_WithUsage)


def read_envelope(body: bytes) -> Envelope:
    """Raises Refusal 400 saying what is wrong with the body."""
    try:
        return _read_envelope.decode(body)
    except msgspec.ValidationError as error:
        raise Refusal(400, f"The body is not right: {error}.", param=_param(str(error))) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal(400, f"The body is not valid JSON: {error}.", code="invalid_json") from None


def _param(message: str) -> str | None:
    found = re.search(r"`\$\.(\w+)|field `(\w+)`", message)
    return (found[1] or found[2]) if found else None


def prepared_body(body: bytes, envelope: Envelope, *, served_name: str) -> bytes:
    """The body as the engine gets it: its own model name, and a stream that ends with its usage."""
    needs_usage = bool(envelope.stream) and not envelope.wants_usage
    if envelope.model == served_name and not needs_usage:
        return body
    if envelope.model == served_name and envelope.stream_options is None and b'"stream_options"' not in body:
        closing = body.rstrip()[:-1]
        return closing + b',"stream_options":{"include_usage":true}}'
    try:
        whole: dict[str, Any] = msgspec.json.decode(body)
    except RecursionError:
        raise Refusal(400, "The body is nested too deep.", code="invalid_json") from None
    whole["model"] = served_name
    if envelope.stream:
        whole["stream_options"] = (whole.get("stream_options") or {}) | {"include_usage": True}
    return msgspec.json.encode(whole)


def usage_of(answer: bytes) -> Usage | None:
    """The usage of a whole JSON answer, or None where it has none."""
    try:
        return _read_usage.decode(answer).usage
    except (msgspec.DecodeError, RecursionError):
        return None


@dataclass
class EventStream:
    """Follows an answer's server-sent events, keeps its usage, and takes the usage event out if asked to."""

    keep_usage_event: bool
    usage: Usage | None = None
    events: int = 0  # that carried a piece of the answer
    _rest: bytes = b""

    def feed(self, data: bytes) -> bytes:
        """What of the answer may go on to the client: whole events."""
        self._rest += data
        out = []
        start = 0
        for found in _EVENT_END.finditer(self._rest):
            event = self._rest[start : found.end()]
            start = found.end()
            if self._look_at(event):
                out.append(event)
        self._rest = self._rest[start:]
        if len(self._rest) > _MAX_EVENT_BYTES:
            out.append(self._rest)
            self._rest = b""
        return b"".join(out)

    def end(self) -> bytes:
        """The last bytes, where the engine did not end them as an event."""
        rest, self._rest = self._rest, b""
        return rest if not rest or self._look_at(rest) else b""

    def _look_at(self, event: bytes) -> bool:
        """Whether the client gets this event."""
        if b'"usage":{' not in event and b'"usage": {' not in event:
            self.events += b'"choices"' in event
            return True
        try:
            found = _read_usage.decode(event.partition(b"data:")[2])
        except (msgspec.DecodeError, RecursionError):
            return True
        self.usage = found.usage or self.usage
        self.events += bool(found.choices)
        return self.keep_usage_event or bool(found.choices)
