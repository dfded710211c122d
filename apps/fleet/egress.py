"""The one way out: an HTTP client that checks the address it really connects to, on every hop.

A name is resolved once, the answer is checked, and the connection goes to the checked address, so a
second, different answer (DNS rebinding) is never used. Redirects pass through the same check.

Private addresses are refused unless the setting EGRESS_ALLOW (host names or networks) or the caller
names them. Link-local and cloud metadata addresses are always refused.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable

import httpcore2
import httpx2
from django.conf import settings

MAX_REDIRECTS = 3
CONNECT_SECONDS, READ_SECONDS = 5.0, 10.0
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_SocketOption = tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]
# Addresses that clouds answer instance credentials on, beyond link-local.
_METADATA = {ipaddress.ip_address(text) for text in ("fd00:ec2::254", "100.100.100.200", "168.63.129.16")}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class EgressRefused(Exception):
    """The server does not connect there; the message names the host, the address and the setting."""


def egress_client(*, allow_hosts: Iterable[str] = ()) -> httpx2.Client:
    """A client that follows at most 3 redirects. `allow_hosts`: names an operator chose, private or not."""
    transport = httpx2.HTTPTransport(trust_env=False)
    transport._pool = httpcore2.ConnectionPool(
        ssl_context=httpx2.create_ssl_context(trust_env=False),
        network_backend=CheckedBackend(frozenset(name.lower() for name in allow_hosts)),
    )
    return httpx2.Client(
        transport=transport,
        trust_env=False,  # a proxy would connect on our behalf, unchecked
        follow_redirects=True,
        max_redirects=MAX_REDIRECTS,
        timeout=httpx2.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
    )


class CheckedBackend(httpcore2.NetworkBackend):
    """Opens TCP connections only to addresses that `refusal` passes."""

    def __init__(self, allow_hosts: frozenset[str] = frozenset()) -> None:
        self._allow_hosts = allow_hosts
        self._sockets = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[_SocketOption] | None = None,
    ) -> httpcore2.NetworkStream:
        addresses = self._checked_addresses(host, port)
        for address in addresses[:-1]:
            try:
                return self._sockets.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                continue
        return self._sockets.connect_tcp(addresses[-1], port, timeout, local_address, socket_options)

    def _checked_addresses(self, host: str, port: int) -> list[str]:
        """Every address of the name, or EgressRefused when one of them is out of bounds."""
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise httpcore2.ConnectError(f"{host} cannot be resolved: {error}") from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        for address in addresses:
            if reason := refusal(host, address, self._allow_hosts):
                raise EgressRefused(reason)
        return addresses


def refusal(host: str, address: str, allow_hosts: frozenset[str] = frozenset()) -> str:
    """Why `host`, which resolved to `address`, is not connected to; empty when it may be."""
    real = _unwrapped(ipaddress.ip_address(address.partition("%")[0]))
    if real.is_link_local or real.is_multicast or real.is_unspecified or real in _METADATA:
        return f"{host} is at {address}, a link-local or metadata address; Stackweb never connects there."
    if real.is_global or host.lower() in allow_hosts or _is_allowed(host, real):
        return ""
    return (
        f"{host} is at {address}, a private address. "
        f"An operator can allow it: add {host} or its network to STACKWEB_EGRESS_ALLOW."
    )


def _unwrapped(address: _Address) -> _Address:
    """The IPv4 address inside an IPv6 form of it (mapped, 6to4, NAT64)."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        return address.ipv4_mapped or address.sixtofour or address
    return address


def _is_allowed(host: str, address: _Address) -> bool:
    for entry in settings.EGRESS_ALLOW:
        try:
            network = ipaddress.ip_network(entry, strict=False)
        except ValueError:
            if entry.lower() == host.lower():
                return True
        else:
            if address.version == network.version and address in network:
                return True
    return False
