"""Who gets in, where a request goes, and what every refusal says."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from apps.gateway.answers import Refusal
from apps.gateway.auth import Caller
from apps.gateway.body import MAX_BODY_BYTES, EventStream, prepared_body, read_envelope
from apps.gateway.directory import Directory, RouteFacts, Snapshot
from apps.gateway.limits import RateLimits
from apps.gateway.routing import Router
from tests.gateway.engine import running_engine
from tests.gateway.rig import HELLO, LIMITED, STRANGER, client_of, endpoint


def test_keys_open_their_own_team_only(tmp_path: Path) -> None:
    async def run() -> None:
        async with running_engine() as engine, client_of(tmp_path, endpoint("chat", engine.url)) as client:
            for key, hint in (("", "virtual key"), ("sk-sw-wrong", "revoked"), ("swt_token", "API token")):
                reply = await client.chat(key=key)
                assert (reply.status, reply.json["error"]["type"]) == (401, "authentication_error")
                assert hint in reply.json["error"]["message"]
            assert (await client.send("/v1/models", key=STRANGER)).json["data"] == []
            assert (await client.chat(key=STRANGER)).status == 404
            assert engine.bodies == []

    asyncio.run(run())


def test_models_lists_what_is_ready_and_the_rest_says_why_not(tmp_path: Path) -> None:
    async def run() -> None:
        loading = endpoint("other", number=2, why_not="other is loading its model.", retry_after_seconds=7)
        async with running_engine() as engine, client_of(tmp_path, endpoint("chat", engine.url), loading) as client:
            assert [model["id"] for model in (await client.send("/v1/models")).json["data"]] == ["chat"]
            assert (await client.send("/v1/models/chat")).json["object"] == "model"
            reply = await client.chat(model="other")
            assert (reply.status, reply.headers["retry-after"]) == (503, "7")
            assert reply.json["error"]["message"] == "other is loading its model."
            unknown = await client.chat(model="chatt")
            assert (unknown.status, unknown.json["error"]["code"]) == (404, "model_not_found")
            assert "Did you mean “chat”?" in unknown.json["error"]["message"]

    asyncio.run(run())


def test_only_the_listed_paths_reach_an_engine(tmp_path: Path) -> None:
    async def run() -> None:
        async with running_engine() as engine, client_of(tmp_path, endpoint("chat", engine.url)) as client:
            for path in ("/v1/load_lora_adapter", "/v1/../pause", "/v1/chat/completions/", "/v1/embeddings"):
                assert (await client.send(path, {"model": "chat", "messages": HELLO})).status == 404
            assert (await client.send("/v1/completions", method="DELETE")).status == 405
            assert engine.paths == []
            assert (await client.send("/v1/completions", {"model": "chat", "prompt": "hi"})).status == 200
            assert engine.paths == ["/v1/completions"]
            assert "uthorization" not in engine.headers[0]

    asyncio.run(run())


def test_bad_bodies_are_named(tmp_path: Path) -> None:
    async def run() -> None:
        async with running_engine() as engine, client_of(tmp_path, endpoint("chat", engine.url)) as client:
            path, deep = "/v1/chat/completions", b'{"model":"chat","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
            for body in (b"{", b"[]", b'{"messages": []}', b'{"model": 3}', deep):
                assert (await client.send(path, body)).status == 400, body[:20]
            assert (await client.send(path, b'{"model": 3}')).json["error"]["param"] == "model"
            assert (await client.send(path, b" " * (MAX_BODY_BYTES + 1))).status == 413
            announced = (b"content-length", str(MAX_BODY_BYTES + 1).encode())
            assert (await client.send(path, b"{}", headers=(announced,))).status == 413
            assert engine.bodies == []

    asyncio.run(run())


def test_the_served_name_replaces_the_public_one(tmp_path: Path) -> None:
    async def run() -> None:
        async with running_engine() as engine:
            renamed = endpoint("chat", engine.url, served_name="inner")
            async with client_of(tmp_path, renamed) as client:
                await client.chat(temperature=0.5)
                assert engine.bodies == [{"model": "inner", "messages": HELLO, "temperature": 0.5}]

    asyncio.run(run())


def test_a_dead_replica_is_passed_over_and_a_dead_endpoint_named(tmp_path: Path) -> None:
    async def run() -> None:
        gone = "http://127.0.0.1:9"  # nothing listens on the discard port
        async with running_engine() as engine:
            async with client_of(tmp_path / "a", endpoint("chat", gone, engine.url)) as client:
                assert (await client.chat()).status == 200
            async with client_of(tmp_path / "b", endpoint("chat", gone)) as client:
                reply = await client.chat()
                assert (reply.status, reply.json["error"]["code"]) == (502, "engine_gone")
                assert [line["status"] for line in client.metered()] == [502]

    asyncio.run(run())


def test_a_key_over_its_rate_waits(tmp_path: Path) -> None:
    async def run() -> None:
        async with running_engine() as engine, client_of(tmp_path, endpoint("chat", engine.url)) as client:
            statuses = [(await client.chat(key=LIMITED)).status for _ in range(3)]
            assert statuses == [200, 200, 429]
            assert len(engine.bodies) == 2

    asyncio.run(run())


def test_the_bucket_fills_with_time() -> None:
    now = [0.0]
    limits, caller = RateLimits(clock=lambda: now[0]), Caller(1, 1, 6)
    for _ in range(6):
        limits.take(caller)
    with pytest.raises(Refusal) as refused:
        limits.take(caller)
    assert refused.value.headers == {"retry-after": "10"}
    now[0] = 10.0
    limits.take(caller)


def test_requests_spread_by_weight_and_go_to_the_least_busy_replica() -> None:
    one, two = endpoint("one", "http://a", "http://b"), endpoint("two", "http://c", number=2)
    route = RouteFacts("chat", 0, ((one, 90), (two, 10)))
    assert Router(pick=lambda total: total * 0.89).endpoint_of(route) is one
    assert Router(pick=lambda total: total * 0.91).endpoint_of(route) is two
    router = Router()
    first = router.replicas_of(one)[0]
    with router.working(first):
        assert router.replicas_of(one)[0] is not first
    assert router.replicas_of(one)[0] is first


def test_the_directory_is_never_older_than_a_second_and_survives_a_lost_database() -> None:
    async def run() -> None:
        now, loads, broken = [0.0], [], False

        async def load() -> Snapshot:
            if broken:
                raise OSError("database away")
            loads.append(now[0])
            return Snapshot()

        directory = Directory(load, clock=lambda: now[0])
        first = await directory.snapshot()
        now[0] = 0.3
        assert await directory.snapshot() is first
        now[0] = 1.0  # too old: this request waits for the fresh copy
        second = await directory.snapshot()
        assert second is not first
        assert loads == [0.0, 1.0]
        broken, now[0] = True, 5.0
        assert await directory.snapshot() is second

    asyncio.run(run())


def test_usage_is_asked_for_by_splicing_not_by_rewriting() -> None:
    body = b'{ "model":"chat", "stream":true , "seed": 1e3 }\n'
    spliced = prepared_body(body, read_envelope(body), served_name="chat")
    assert spliced == body.rstrip()[:-1] + b',"stream_options":{"include_usage":true}}'
    plain = b'{"model":"chat"}'
    assert prepared_body(plain, read_envelope(plain), served_name="chat") is plain


def test_events_cut_anywhere_come_out_whole() -> None:
    text = b'data: {"choices":[{"x":1}]}\r\n\r\ndata: {"choices":[],"usage":{"prompt_tokens":3}}\n\ndata: [DONE]\n\n'
    for cut in range(len(text)):
        stream = EventStream(keep_usage_event=False)
        out = stream.feed(text[:cut]) + stream.feed(text[cut:]) + stream.end()
        assert out == b'data: {"choices":[{"x":1}]}\r\n\r\ndata: [DONE]\n\n'
        assert stream.usage is not None
        assert (stream.usage.prompt_tokens, stream.events) == (3, 1)
