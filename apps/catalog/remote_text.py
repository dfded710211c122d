"""A small text on another server: a card, a config, a manifest, a licence."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import httpx2

TEXT_LIMIT_BYTES = 400_000
TEXT_SECONDS = 20.0


def read_text(
    client: httpx2.Client,
    url: str,
    headers: Mapping[str, str],
    check: Callable[[httpx2.Response], object],
    most_bytes: int = TEXT_LIMIT_BYTES,
) -> str:
    """At most its first 400 kB unless told, and no more than has arrived after 20 s.

    `check` raises for an answer that is a refusal. Raises also what the client raises.
    """
    deadline, held = time.monotonic() + TEXT_SECONDS, bytearray()
    with client.stream("GET", url, headers=headers) as answer:
        check(answer)
        for piece in answer.iter_bytes():
            held += piece
            if len(held) > most_bytes or time.monotonic() > deadline:
                break
    return bytes(held[:most_bytes]).decode("utf-8", "replace")
