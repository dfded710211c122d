"""Watches one request and writes its usage line, exactly once."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from apps.gateway.auth import Caller
from apps.gateway.body import Usage
from apps.gateway.directory import EndpointFacts
from apps.gateway.metering import Spool, UsageLine, utc_now

BYTES_PER_TOKEN = 4  # English text; used only where the engine never told
CLIENT_GONE, ENGINE_GONE = 499, 502


@dataclass
class Meter:
    spool: Spool
    caller: Caller
    endpoint: EndpointFacts
    route: str
    request_id: str
    is_stream: bool
    request_bytes: int
    started: float = field(default_factory=time.monotonic)
    ttft_ms: float | None = None
    is_written: bool = False

    def first_piece(self) -> None:
        if self.ttft_ms is None:
            self.ttft_ms = self._elapsed_ms()

    def write(self, status: int, usage: Usage | None, *, pieces: int = 0) -> None:
        """`pieces` of the answer that passed stand in for its tokens where the engine told no usage."""
        if self.is_written:
            return
        self.is_written = True
        is_exact = usage is not None or 400 <= status < CLIENT_GONE
        if usage is None:
            prompt = 0 if is_exact else self.request_bytes // BYTES_PER_TOKEN
            usage = Usage(prompt_tokens=prompt, completion_tokens=pieces)
        self.spool.append(
            UsageLine(
                uuid=self.request_id,
                team_id=self.caller.team_id,
                key_id=self.caller.key_id,
                route=self.route,
                endpoint_id=self.endpoint.endpoint_id,
                status=status,
                is_stream=self.is_stream,
                prompt_tokens=usage.prompt_tokens,
                completion_tokens=usage.completion_tokens,
                is_exact=is_exact,
                ttft_ms=self.ttft_ms,
                duration_ms=self._elapsed_ms(),
                at=utc_now(),
            )
        )

    def _elapsed_ms(self) -> float:
        return (time.monotonic() - self.started) * 1000
