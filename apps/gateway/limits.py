"""Requests per minute of each key, as a token bucket in memory. Several gateways each keep their own."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from apps.gateway.answers import Refusal
from apps.gateway.auth import Caller


class RateLimits:
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[int, tuple[float, float]] = {}  # key id -> (tokens, at)

    def take(self, caller: Caller) -> None:
        """Counts one request. Raises Refusal 429 with the seconds until the next one may come."""
        limit = caller.requests_per_minute
        if caller.key_id is None or limit is None:
            return
        now = self._clock()
        tokens, at = self._buckets.get(caller.key_id, (float(limit), now))
        tokens = min(float(limit), tokens + (now - at) * limit / 60)
        if tokens < 1:
            self._buckets[caller.key_id] = (tokens, now)
            wait = math.ceil((1 - tokens) * 60 / limit) if limit else 60
            raise Refusal(
                429,
                f"This key may send {limit} requests a minute. Try again in {wait} s.",
                kind="rate_limit_error",
                code="rate_limit_exceeded",
                retry_after_seconds=wait,
            )
        self._buckets[caller.key_id] = (tokens - 1, now)
