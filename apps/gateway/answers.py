"""What the core says back, free of any transport: a status, headers, and bytes that may still be coming."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

JSON_TYPE = "application/json"


@dataclass
class Answer:
    """`chunks` is set for an answer that is still being written; closing it ends the work behind it."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    chunks: AsyncIterator[bytes] | None = None


class Refusal(Exception):
    """A request that the gateway itself answers, in the shape that OpenAI clients read."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error = {"message": message, "type": kind, "param": param, "code": code}
        self.headers = {} if retry_after_seconds is None else {"retry-after": str(retry_after_seconds)}

    def answer(self) -> Answer:
        headers = {"content-type": JSON_TYPE, **self.headers}
        return Answer(self.status, headers, json.dumps({"error": self.error}).encode())


def json_answer(data: object) -> Answer:
    return Answer(200, {"content-type": JSON_TYPE}, json.dumps(data).encode())
