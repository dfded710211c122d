"""The one way out: what it refuses, seen from real sockets on loopback."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2
import pytest

from apps.fleet.egress import EgressRefused, egress_client, refusal


class Redirecting(BaseHTTPRequestHandler):
    """`/ok` answers, `/to/<url>` redirects there, `/loop` redirects to itself."""

    def do_GET(self) -> None:
        self.server.hits += 1  # type: ignore[attr-defined]
        target = self.path if self.path == "/loop" else self.path.removeprefix("/to/")
        redirects = self.path != "/ok"
        self.send_response(302 if redirects else 200)
        if redirects:
            self.send_header("Location", target)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[Any]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Redirecting)
    server.hits = 0  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "user@169.254.169.254",
        "2852039166",  # the same address as one number
        "0xA9FEA9FE",
        "[::ffff:169.254.169.254]",
        "[64:ff9b::169.254.169.254]",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "0.0.0.0",  # noqa: S104
        "224.0.0.1",
    ],
)
def test_metadata_and_link_local_are_refused_even_where_everything_is_allowed(host: str, settings: Any) -> None:
    settings.EGRESS_ALLOW = ["0.0.0.0/0", "::/0"]
    with egress_client() as client, pytest.raises(EgressRefused, match="never connects"):
        client.get(f"http://{host}/latest/meta-data")


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "[::1]", "[::ffff:127.0.0.1]", "10.0.0.7", "192.168.1.1"]
)
def test_private_addresses_are_refused_and_the_setting_is_named(host: str, settings: Any) -> None:
    settings.EGRESS_ALLOW = []
    with egress_client() as client, pytest.raises(EgressRefused, match="STACKWEB_EGRESS_ALLOW"):
        client.get(f"http://{host}/")


def test_an_allowed_network_is_reached_and_its_redirect_to_metadata_is_not(site: Any, settings: Any) -> None:
    settings.EGRESS_ALLOW = ["127.0.0.0/8"]
    base = f"http://127.0.0.1:{site.server_port}"
    with egress_client() as client:
        assert client.get(f"{base}/ok").status_code == 200
        with pytest.raises(EgressRefused, match=r"169\.254\.169\.254"):
            client.get(f"{base}/to/http://169.254.169.254/latest")
        with pytest.raises(EgressRefused, match=r"10\.1\.2\.3"):
            client.get(f"{base}/to/http://10.1.2.3/")


def test_a_redirect_loop_ends_after_three_hops(site: Any, settings: Any) -> None:
    settings.EGRESS_ALLOW = ["127.0.0.1"]
    with egress_client() as client, pytest.raises(httpx2.TooManyRedirects):
        client.get(f"http://127.0.0.1:{site.server_port}/loop")
    assert site.hits == 4


def test_a_name_that_resolves_differently_the_second_time_is_used_as_first_checked(
    site: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.EGRESS_ALLOW = ["127.0.0.1/32"]
    answers = ["127.0.0.1", "10.0.0.1"]
    asked: list[str] = []
    real = socket.getaddrinfo

    def resolve(host: str, port: int, *rest: Any, **named: Any) -> Any:
        if host != "rebinding.example":
            return real(host, port, *rest, **named)
        asked.append(answers[len(asked)])
        return real(asked[-1], port, *rest, **named)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    url = f"http://rebinding.example:{site.server_port}/ok"
    with egress_client() as client:
        assert client.get(url, headers={"Connection": "close"}).status_code == 200
        assert asked == ["127.0.0.1"]
        with pytest.raises(EgressRefused, match=r"10\.0\.0\.1"):
            client.get(url)


def test_one_private_address_among_public_ones_is_enough_to_refuse(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.EGRESS_ALLOW = []
    both = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80)) for address in ("1.1.1.1", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)
    with egress_client() as client, pytest.raises(EgressRefused, match=r"10\.0\.0\.1"):
        client.get("http://mixed.example/")


def test_an_operators_own_host_may_be_private_but_not_metadata() -> None:
    assert refusal("hub.lan", "10.0.0.5", frozenset({"hub.lan"})) == ""
    assert refusal("other.lan", "10.0.0.5", frozenset({"hub.lan"}))
    assert refusal("hub.lan", "169.254.169.254", frozenset({"hub.lan"}))
    assert refusal("hub.example", "93.184.215.14") == ""
