"""Waiting for a server that asks to slow down (429), as long as it says and no longer than the place allows."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

T = TypeVar("T")
UNSAID_SECONDS = 5.0  # where the server does not say how long
_RESET = re.compile(r";\s*r=0\s*;\s*t=(\d{1,9})\b")


def sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return False


@dataclass
class Patience:
    """`seconds_left`: of all waits together. `on_wait` hears of each before it begins. `wait` takes the time, and tells
    by a true answer that to wait has become futile."""

    tries: int
    seconds_left: float
    on_wait: Callable[[float], None] = lambda seconds: None
    wait: Callable[[float], bool] = sleep

    def hear(self, ask: Callable[[], T]) -> T:
        """What `ask` returns, asked again after each refusal by 429; raises the last one, and any other at once."""
        for _ in range(self.tries - 1):
            try:
                return ask()
            except Exception as error:
                seconds = asked_wait(error)
                if seconds is None or seconds > self.seconds_left:
                    raise
                self.seconds_left -= seconds
                self.on_wait(seconds)
                if self.wait(seconds):
                    raise
        return ask()


def asked_wait(error: BaseException) -> float | None:
    """Seconds that a refusal by 429 asks to wait; None for any other error."""
    response = getattr(error, "response", None)
    if response is None or response.status_code != 429:
        return None
    seconds = _seconds(response.headers, datetime.now(UTC))
    return UNSAID_SECONDS if seconds is None else seconds


def _seconds(headers: Mapping[str, str], now: datetime) -> float | None:
    """Of `Retry-After` as seconds or as a date (RFC 9110, 10.2.3), else of `RateLimit` with nothing remaining
    (draft-ietf-httpapi-ratelimit-headers), as the Hub sends it."""
    said = headers.get("Retry-After", "").strip()
    if said.isascii() and said.isdigit():
        return float(said[:9])
    if said:
        try:
            return max(0.0, (parsedate_to_datetime(said) - now).total_seconds())
        except (ValueError, TypeError):  # no date, or one without a time zone
            return None
    reset = _RESET.search(headers.get("RateLimit", ""))
    return float(reset[1]) if reset else None
