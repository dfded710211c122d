"""The whole way: /v1 under the real server, keys and routes from the database, usage into it."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.conf import settings
from django.test import Client
from django.utils import timezone

from apps.accounts.problems import Problem
from apps.engines.programs.fake_server import FakeHandler
from apps.fleet.local_host import host_name
from apps.gateway.metering import Spool, UsageLine, read_lines
from apps.gateway.models import UsageRecord, VirtualKey
from apps.gateway.services import create_virtual_key, flush_usage, revoke_virtual_key
from tests.factories import api_headers, make_host, make_live_endpoint, make_team, make_user

MESSAGES = [{"role": "user", "content": "Say something"}]


@pytest.fixture
def engine_port() -> Iterator[int]:
    handler = type("Handler", (FakeHandler,), {"served_name": "chat"})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.fixture
def spool(tmp_path: Path, settings: Any) -> Path:
    settings.SPOOL_DIR = tmp_path / "spool"
    return tmp_path / "spool"


def the_local_host() -> Any:
    return make_host(host_name(socket.gethostname()))


def test_a_request_is_answered_metered_and_stored_once(spool: Path, asgi_server: str, engine_port: int) -> None:
    team = make_team()
    endpoint = make_live_endpoint(team, the_local_host(), port=engine_port)
    key, token = create_virtual_key(team=team, user=make_user(team=team), name="app")
    headers = {"Authorization": f"Bearer {token.plain}"}
    body = {"model": "chat", "messages": MESSAGES}
    with httpx.Client(base_url=f"{asgi_server}/v1", headers=headers) as client:
        assert [model["id"] for model in client.get("/models").json()["data"]] == ["chat"]
        whole = client.post("/chat/completions", json=body).json()["usage"]
        with client.stream("POST", "/chat/completions", json=body | {"stream": True}) as stream:
            events = [line for line in stream.iter_lines() if line]
            # No page's middleware touched it.
            assert not {"content-security-policy", "x-frame-options", "vary"} & set(stream.headers)
        assert events[-1] == "data: [DONE]"
        assert len(events) == whole["completion_tokens"] + 1
    assert flush_usage() == 2
    assert flush_usage() == 0
    rows = list(UsageRecord.objects.order_by("is_stream"))
    for row in rows:
        assert (row.prompt_tokens, row.completion_tokens) == (whole["prompt_tokens"], whole["completion_tokens"])
        assert (row.key_id, row.team_id, row.endpoint_id, row.is_exact) == (key.pk, team.pk, endpoint.pk, True)
    assert [row.is_stream for row in rows] == [False, True]
    key.refresh_from_db()
    assert key.last_used_at == max(row.at for row in rows)


def test_a_revoked_key_is_refused_within_a_second(spool: Path, asgi_server: str, engine_port: int) -> None:
    team = make_team()
    alice = make_user(team=team)
    make_live_endpoint(team, the_local_host(), port=engine_port)
    key, token = create_virtual_key(team=team, user=alice, name="app")
    with httpx.Client(base_url=asgi_server, headers={"Authorization": f"Bearer {token.plain}"}) as client:
        assert client.get("/v1/models").status_code == 200
        revoke_virtual_key(key=key, user=alice)
        revoked = time.monotonic()
        while client.get("/v1/models").status_code == 200:
            assert time.monotonic() - revoked < 1.0, "a revoked key worked for over a second"
    with pytest.raises(Problem, match="before"):
        revoke_virtual_key(key=key, user=alice)


def test_the_playground_streams_for_members_and_is_metered(
    spool: Path, asgi_server: str, engine_port: int, client: Client
) -> None:
    team = make_team()
    endpoint = make_live_endpoint(team, the_local_host(), port=engine_port)
    url = f"{asgi_server}/endpoints/{endpoint.public_id}/chat"
    for user, status in ((make_user(team=team), 200), (make_user(team=make_team()), 404)):
        client.force_login(user)
        cookies = {settings.SESSION_COOKIE_NAME: client.cookies[settings.SESSION_COOKIE_NAME].value}
        with httpx.Client(cookies=cookies | {settings.CSRF_COOKIE_NAME: "a" * 32}) as browser:
            sent = {"messages": MESSAGES, "stream": True}
            answer = browser.post(url, json=sent, headers={"X-CSRFToken": "a" * 32})
            assert answer.status_code == status
            if status == 200:
                assert answer.headers["content-type"].startswith("text/event-stream")
                assert answer.text.endswith("data: [DONE]\n\n")
                refused = browser.post(url, json=sent | {"argv": "x"}, headers={"X-CSRFToken": "a" * 32})
                assert (refused.status_code, "argv" in refused.json()["error"]["message"]) == (400, True)
            assert browser.post(url, json=sent).status_code == 403
    flush_usage()
    row = UsageRecord.objects.get()
    assert (row.key_id, row.endpoint_id, row.is_exact) == (None, endpoint.pk, True)
    assert row.completion_tokens > 0


def test_an_engine_on_another_machine_is_not_mistaken_for_a_local_one(spool: Path, asgi_server: str) -> None:
    team = make_team()
    make_live_endpoint(team, make_host("far-away"))
    _, token = create_virtual_key(team=team, user=make_user(team=team), name="app")
    headers = {"Authorization": f"Bearer {token.plain}"}
    answer = httpx.post(
        f"{asgi_server}/v1/chat/completions", json={"model": "chat", "messages": MESSAGES}, headers=headers
    )
    assert answer.status_code == 503
    assert "far-away" in answer.json()["error"]["message"]


@pytest.mark.django_db
def test_virtual_keys_over_rest(client: Client) -> None:
    team = make_team()
    headers = api_headers(make_user("alice", team=team)) | {"Idempotency-Key": "k1"}
    sent = {"name": "app", "requests_per_minute": 60}
    made = client.post("/api/v1/virtual-keys", sent, "application/json", headers=headers)
    assert made.status_code == 201
    body = made.json()
    assert body["key"].startswith("sk-sw-")
    assert body["key"].startswith(body["hint"])
    again = client.post("/api/v1/virtual-keys", sent, "application/json", headers=headers).json()
    assert (again["id"], again["key"]) == (body["id"], None)
    listed = client.get("/api/v1/virtual-keys", headers=headers)
    assert [row["id"] for row in listed.json()["items"]] == [body["id"]]
    assert body["key"] not in listed.content.decode() + str(VirtualKey.objects.values())
    carol = api_headers(make_user(team=make_team()))
    assert client.delete(f"/api/v1/virtual-keys/{body['id']}", headers=carol).status_code == 404
    assert client.delete(f"/api/v1/virtual-keys/{body['id']}", headers=headers).json()["revoked_at"]
    for name, value in (("name", ""), ("requests_per_minute", 0)):
        wrong = client.post("/api/v1/virtual-keys", {"name": "x", name: value}, "application/json", headers=carol)
        assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, name)
    as_key = {"Authorization": f"Bearer {body['key']}"}
    assert client.get("/api/v1/virtual-keys", headers=as_key).status_code == 401


def line(number: int, **fields: Any) -> UsageLine:
    shape: dict[str, Any] = {
        "uuid": f"00000000-0000-0000-0000-{number:012}", "team_id": 1, "key_id": None, "route": "chat",
        "endpoint_id": 1, "status": 200, "is_stream": False, "prompt_tokens": 1, "completion_tokens": 2,
        "is_exact": True, "ttft_ms": None, "duration_ms": 1.0, "at": timezone.now().isoformat(),
    }  # fmt: skip
    return UsageLine(**(shape | fields))


@pytest.mark.django_db
def test_lines_that_are_flushed_late_do_not_set_a_keys_last_use_back(tmp_path: Path) -> None:
    team = make_team()
    key, _ = create_virtual_key(team=team, user=make_user(team=team), name="app")
    now = timezone.now()
    for number, at in enumerate((now, now - timedelta(hours=1))):
        spool = Spool(tmp_path / str(number))
        spool.append(line(number, key_id=key.pk, at=at.isoformat()))
        spool.close()
        assert flush_usage(tmp_path / str(number)) == 1
    key.refresh_from_db()
    assert key.last_used_at == now


@pytest.mark.django_db
def test_a_flush_that_is_repeated_or_cut_off_counts_each_request_once(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    for number in range(3):
        spool.append(line(number, key_id=999_999))  # a key that is gone must not stop the rest
    assert flush_usage(tmp_path) == 3
    for mark in tmp_path.glob("*.offset"):
        mark.unlink()  # killed between the commit and the mark
    spool.append(line(3))
    flush_usage(tmp_path)
    assert UsageRecord.objects.count() == 4
    assert UsageRecord.objects.filter(key=None).count() == 4
    spool.close()


@pytest.mark.django_db
def test_torn_lines_wait_and_old_files_go(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.append(line(1))
    spool.close()
    (path,) = tmp_path.glob("usage-*.jsonl")
    with path.open("a") as file:
        file.write('{"cut short by a full disk}\n{"uuid": "half')
    rows, offset = read_lines(path, 0)
    assert (len(rows), path.read_bytes()[offset:]) == (1, b'{"uuid": "half')
    assert flush_usage(tmp_path) == 1
    old = (timezone.now() - timedelta(hours=3)).timestamp()
    os.utime(path, (old, old))
    flush_usage(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert UsageRecord.objects.get().completion_tokens == 2
