"""Loopback ports for engines that listen."""

from __future__ import annotations

import socket

import httpx

ANSWER_SECONDS = 2.0


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As engines do it: a port whose last connections are only lingering counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def pick_port(leased: int, taken: set[int]) -> int:
    """The leased port when it is free, else another one; `taken` are ports of attempts still starting."""
    if leased and leased not in taken and is_free(leased):
        return leased
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port not in taken:
            return port


def answers(port: int, path: str) -> bool:
    """Whether a GET of that path comes back with 200 in time."""
    try:
        answer = httpx.get(f"http://127.0.0.1:{port}{path}", timeout=ANSWER_SECONDS, trust_env=False)
    except httpx.TransportError:
        return False
    return answer.status_code == 200
