"""Serving with a live preview, and the playground."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from typing import Any

import pytest
from playwright.sync_api import expect

from apps.engines.programs.fake_server import ANSWER, FakeHandler, chunks
from apps.fleet.local_host import host_name
from apps.serving.models import Endpoint
from tests.browser.conftest import SignedIn
from tests.browser.server import Server
from tests.factories import make_host, make_live_endpoint, make_stored_version, make_team, make_user


def test_the_preview_follows_the_form_and_deploys(server: Server, signed_in: SignedIn) -> None:
    team = make_team("Lab")
    make_stored_version(team, host=make_host("atlas"))
    page = signed_in(make_user("alice", team=team))
    page.goto(f"{server.url}/endpoints/new")
    preview, length = page.locator("#preview"), page.get_by_label("Context length")
    expect(preview).to_contain_text("Fits")
    length.fill("2048")
    expect(preview).to_contain_text("--max-model-len 2048")
    length.fill("3")
    expect(preview.locator(".alert")).to_contain_text("Context length")
    expect(preview).not_to_contain_text("--max-model-len")
    length.fill("1024")
    expect(preview).to_contain_text("--max-model-len 1024")
    page.get_by_label("Endpoint name").fill("chat")
    expect(preview).to_contain_text("--served-model-name chat")
    page.get_by_role("button", name="Serve", exact=True).click()
    page.wait_for_url("**/endpoints/ep-*")
    expect(page.locator("h1")).to_have_text("chat")
    assert Endpoint.objects.get().options["max_model_len"] == 1024


class SlowHandler(FakeHandler):
    """Says three words, then waits to be told to go on, or until the caller leaves."""

    served_name = "chat"
    go_on, left = threading.Event(), threading.Event()

    def stream(self, body: dict[str, Any], is_chat: bool) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number, data in enumerate(chunks(body, self.served_name, is_chat)):
            if number == 3 and not self._may_go_on():
                self.close_connection = True
                return
            line = f"data: {data}\n\n".encode()
            self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")

    def _may_go_on(self) -> bool:
        while not self.go_on.wait(0.02):
            if select.select([self.connection], [], [], 0)[0]:
                self.left.set()
                return False
        return True


@pytest.fixture
def engine() -> Iterator[ThreadingHTTPServer]:
    SlowHandler.go_on.clear()
    SlowHandler.left.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), SlowHandler) as engine:
        thread = threading.Thread(target=engine.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield engine
        SlowHandler.go_on.set()
        engine.shutdown()
        thread.join()


def test_the_playground_streams_and_stops(server: Server, signed_in: SignedIn, engine: ThreadingHTTPServer) -> None:
    team = make_team("Lab")
    host = make_host(host_name(socket.gethostname()))
    endpoint = make_live_endpoint(team, host, port=engine.server_address[1])
    page = signed_in(make_user("alice", team=team))
    page.goto(f"{server.url}/endpoints/{endpoint.public_id}")
    message, stop = page.get_by_label("Message"), page.get_by_role("button", name="Stop", exact=True)
    message.fill("Who are you?")
    message.press("Enter")
    answer = page.locator("#messages .msg").last
    expect(answer.locator(".prose")).to_have_text("This is the")
    expect(stop).to_be_visible()
    SlowHandler.go_on.set()
    expect(answer.locator(".prose")).to_have_text(ANSWER)
    expect(answer.locator(".stat")).to_contain_text("TTFT")
    expect(stop).to_be_hidden()
    SlowHandler.go_on.clear()
    message.fill("And once more?")
    page.get_by_role("button", name="Send").click()
    expect(page.locator("#messages .msg")).to_have_count(4)
    expect(answer.locator(".prose")).to_have_text("This is the")
    stop.click()
    expect(answer.locator(".stat")).to_have_text("Stopped")
    assert SlowHandler.left.wait(5), "the engine was not told that the reader left"
