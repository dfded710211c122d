"""Where the web side listens and under which names others reach it."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass

import psutil

from stackweb.embedded.ports import is_free
from stackweb.supervisor.home import UpError

LOOPBACK = "127.0.0.1"
EVERYWHERE = "0.0.0.0"  # noqa: S104 - only when asked for by `--bind`


@dataclass(frozen=True)
class Address:
    """`bind` is an IPv4 address: one of this machine's, or 0.0.0.0 for all of them."""

    bind: str
    port: int

    @property
    def is_open(self) -> bool:
        """True when other machines can reach it."""
        return not ipaddress.ip_address(self.bind).is_loopback

    @property
    def local_host(self) -> str:
        return LOOPBACK if self.bind == EVERYWHERE else self.bind

    @property
    def public_host(self) -> str:
        """The address to print and to give to other hosts; STACKWEB_URL overrides it."""
        if self.bind != EVERYWHERE:
            return self.bind
        outside = [address for address in own_addresses() if not ipaddress.ip_address(address).is_loopback]
        return (outside or [LOOPBACK])[0]

    @property
    def url(self) -> str:
        return f"http://{self.public_host}:{self.port}"

    @property
    def local_url(self) -> str:
        return f"http://{self.local_host}:{self.port}"

    def allowed_hosts(self) -> list[str]:
        """Host headers that are answered."""
        names = ["localhost", LOOPBACK, "[::1]", self.bind]
        if self.bind == EVERYWHERE:
            names += [socket.gethostname(), socket.getfqdn(), *own_addresses()]
        return list(dict.fromkeys(names))

    def check_free(self) -> None:
        """Raises UpError when something else listens there."""
        if not is_free(self.port, self.bind):
            raise UpError(
                f"Port {self.port} on {self.bind} is taken by another program. Set STACKWEB_PORT to a free "
                f"port, for example: STACKWEB_PORT={self.port + 1} make up"
            )


def own_addresses() -> list[str]:
    """The IPv4 addresses of this machine, in the order of its interfaces."""
    entries = [entry for interface in psutil.net_if_addrs().values() for entry in interface]
    return [entry.address for entry in entries if entry.family == socket.AF_INET]


def read_address(bind: str, port: str) -> Address:
    """Raises UpError naming the setting that is wrong."""
    if not port.isdecimal() or not 1 <= int(port) <= 65535:
        raise UpError(f"STACKWEB_PORT is '{port}'; it must be a number from 1 to 65535.")
    try:
        ipaddress.IPv4Address(bind)
    except ValueError:
        raise UpError(
            f"--bind is '{bind}'; it must be an IPv4 address of this machine, or {EVERYWHERE} for all."
        ) from None
    loopback = ipaddress.ip_address(bind).is_loopback
    if bind != EVERYWHERE and not loopback and bind not in own_addresses():
        raise UpError(f"--bind is {bind}, which is not an address of this machine.")
    return Address(bind, int(port))
