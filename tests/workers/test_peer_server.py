"""What a host gives to its peers: the files of a ticket, read-only, and not one byte beside them."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest

from workers.client import PeerFiles, Refused, Unreachable
from workers.config import ConfigError
from workers.peer_server import AT_ONCE, PeerServer, start_peer_server

TICKET = "the-right-one"
WEIGHTS = bytes(range(256)) * 40
LISTED = ["weights", "sub/inner", "empty", "link-in", "link-out", "dir-out/secret", "../secret", "pipe", "gone", "sub"]


class ControlPlane:
    """Answers as `POST peer-files` does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []
        self.is_away = False

    def peer_files(self, ticket: str) -> PeerFiles:
        self.asked.append(ticket)
        if self.is_away:
            raise Unreachable("The server cannot be reached")
        if ticket != TICKET:
            raise Refused(403, "This ticket has expired, or its download has ended.")
        return PeerFiles(path=str(self.folder), files=frozenset(LISTED))


@pytest.fixture
def control(tmp_path: Path) -> ControlPlane:
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "weights").write_bytes(WEIGHTS)
    (folder / "sub/inner").write_bytes(b"inner")
    (folder / "empty").touch()
    (folder / "not-listed").write_bytes(b"secret")
    (tmp_path / "secret").write_bytes(b"secret")
    (folder / "link-in").symlink_to("weights")
    (folder / "link-out").symlink_to(tmp_path / "secret")
    (folder / "dir-out").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe")
    return ControlPlane(folder)


@pytest.fixture
def peer(control: ControlPlane) -> Iterator[PeerServer]:
    serving = PeerServer(("127.0.0.1", 0), control)  # type: ignore[arg-type]
    thread = threading.Thread(target=serving.serve_forever, args=(0.02,))
    thread.start()
    yield serving
    serving.shutdown()
    serving.server_close()
    thread.join()


def ask(peer: PeerServer, path: str, *, ticket: str = TICKET, method: str = "GET", **headers: str) -> HTTPResponse:
    """As written: no client tidies the path up on the way."""
    connection = HTTPConnection("127.0.0.1", peer.server_address[1], timeout=10)
    given = {"Authorization": f"Bearer {ticket}"} if ticket else {}
    connection.request(method, path, headers=given | headers)
    answer = connection.getresponse()
    answer.said = answer.read()  # type: ignore[attr-defined]
    connection.close()
    return answer


@pytest.mark.parametrize(
    ("path", "body"),
    [("weights", WEIGHTS), ("sub/inner", b"inner"), ("sub%2Finner", b"inner"), ("empty", b""), ("link-in", WEIGHTS)],
)
def test_a_ticket_opens_the_files_that_it_names(peer: PeerServer, path: str, body: bytes) -> None:
    answer = ask(peer, f"/files/{path}")
    assert (answer.status, answer.said) == (200, body)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/files/not-listed", 404), ("/not-listed", 404), ("/files/sub/../not-listed", 404),
        ("/files//etc/passwd", 404),
        ("/files/%2e%2e/model/weights", 404), ("/files/%252e%252e/secret", 404), ("/files/weights%00", 404),
        ("/files/", 404), ("/", 404), ("/files/gone", 404),
        ("/files/../secret", 403), ("/files/..%2Fsecret", 403),  # listed, by a control plane that is deceived
        ("/files/link-out", 403), ("/files/dir-out/secret", 403), ("/files/pipe", 403), ("/files/sub", 403),
    ],
)  # fmt: skip
def test_nothing_else_is_given(peer: PeerServer, path: str, status: int) -> None:
    answer = ask(peer, path)
    assert answer.status == status, answer.said
    assert answer.said != b"secret"
    assert b"root:" not in answer.said


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_is_taken(peer: PeerServer, control: ControlPlane, method: str) -> None:
    assert ask(peer, "/files/weights", method=method).status == 501
    assert (control.folder / "weights").read_bytes() == WEIGHTS


def test_a_wrong_ticket_or_none_opens_nothing_and_none_is_asked_about(peer: PeerServer, control: ControlPlane) -> None:
    assert ask(peer, "/files/weights", ticket="").status == 401
    assert control.asked == []
    refused = ask(peer, "/files/weights", ticket="another")
    assert (refused.status, b"has expired" in refused.said) == (403, True)


def test_a_control_plane_that_is_away_is_no_refusal_and_what_it_said_holds_a_while(
    peer: PeerServer, control: ControlPlane
) -> None:
    control.is_away = True
    assert ask(peer, "/files/weights").status == 503
    control.is_away = False
    assert [ask(peer, "/files/weights").status for _ in range(3)] == [200] * 3
    assert control.asked == [TICKET] * 2


@pytest.mark.parametrize(
    ("asked", "status", "body"),
    [
        ("bytes=10-", 206, WEIGHTS[10:]), (f"bytes={len(WEIGHTS) - 1}-", 206, WEIGHTS[-1:]),
        (f"bytes={len(WEIGHTS)}-", 416, b""), ("bytes=5-9", 200, WEIGHTS), ("bytes=-5", 200, WEIGHTS),
        (f"bytes={'9' * 30}-", 200, WEIGHTS),
    ],
)  # fmt: skip
def test_a_cut_goes_on_where_it_was(peer: PeerServer, asked: str, status: int, body: bytes) -> None:
    answer = ask(peer, "/files/weights", Range=asked)
    assert (answer.status, answer.said) == (status, body)
    if status == 206:
        assert answer.headers["Content-Range"] == f"bytes {asked[6:-1]}-{len(WEIGHTS) - 1}/{len(WEIGHTS)}"


def test_more_connections_than_it_serves_are_closed_and_may_come_again(peer: PeerServer) -> None:
    held = [HTTPConnection("127.0.0.1", peer.server_address[1], timeout=10) for _ in range(AT_ONCE)]
    for each in held:
        each.request("GET", "/files/empty", headers={"Authorization": f"Bearer {TICKET}"})
        assert each.getresponse().read() == b""
    with pytest.raises(ConnectionError):
        ask(peer, "/files/weights")
    held[0].close()
    for each in held[1:]:
        each.close()
    for _ in range(100):
        try:
            assert ask(peer, "/files/weights").status == 200
            break
        except ConnectionError:
            threading.Event().wait(0.05)
    else:
        pytest.fail("No place became free")


@pytest.mark.parametrize("address", ["8460", "10.0.0.5", "0.0.0.0:8460", "[::]:8460", "http://10.0.0.5:8460", "a b:1"])
def test_an_address_that_no_peer_can_use_is_refused_in_words(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("STACKWEB_PEER_ADDRESS", address)
    with pytest.raises(ConfigError, match=r"find this one: 10\.0\.0\.5:8460"):
        start_peer_server(None)  # type: ignore[arg-type]


def test_without_the_setting_or_its_port_nothing_is_served(peer: PeerServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STACKWEB_PEER_ADDRESS", raising=False)
    assert start_peer_server(peer.server) == ""
    monkeypatch.setenv("STACKWEB_PEER_ADDRESS", f"127.0.0.1:{peer.server_address[1]}")
    assert start_peer_server(peer.server) == "", "the port is taken: the worker works on without"
