"""Loopback ports: is one free, and hold one until its server takes it over."""

from __future__ import annotations

import socket


class HeldPort:
    """A free port, kept bound so that no other process is given it before our server starts.

    A bound socket that does not listen does not stop a server that also sets SO_REUSEADDR, as
    Postgres, Valkey and uvicorn do.
    """

    def __init__(self, wanted: int = 0, address: str = "127.0.0.1") -> None:
        """Holds `wanted`, or any free port when that one is taken or 0."""
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if wanted and not is_free(wanted, address):
            wanted = 0
        self._socket.bind((address, wanted))
        self.port: int = self._socket.getsockname()[1]

    def release(self) -> None:
        self._socket.close()

    def listen(self) -> None:
        """Takes the port for real, so that nobody else can."""
        self._socket.listen(1)

    def __enter__(self) -> HeldPort:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def is_free(port: int, address: str = "127.0.0.1") -> bool:
    """True when a server could listen there now. Sockets left in TIME_WAIT do not count."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def is_open(port: int, address: str = "127.0.0.1") -> bool:
    """True when something accepts connections there."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        return probe.connect_ex((address, port)) == 0
