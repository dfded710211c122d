"""Every completion is written down, with the engine's own token counts, before its last byte leaves."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from tests.gateway.engine import PIECES, running_engine
from tests.gateway.rig import client_of, endpoint


def test_whole_answers_are_metered_exactly(tmp_path: Path) -> None:
    async def run() -> None:
        async with running_engine() as engine, client_of(tmp_path, endpoint("chat", engine.url)) as client:
            reply = await client.chat()
            assert reply.status == 200
            assert reply.json["usage"]["completion_tokens"] == 5
            (line,) = client.metered()
            assert line["uuid"] == reply.headers["x-request-id"]
            picked = {name: line[name] for name in ("prompt_tokens", "completion_tokens", "is_exact", "status")}
            assert picked == {"prompt_tokens": 17, "completion_tokens": 5, "is_exact": True, "status": 200}
            assert (line["key_id"], line["team_id"], line["endpoint_id"], line["route"]) == (1, 1, 1, "chat")

    asyncio.run(run())


def test_streams_are_metered_exactly_and_look_as_asked_for(tmp_path: Path) -> None:
    async def run() -> None:
        async with running_engine() as engine, client_of(tmp_path, endpoint("chat", engine.url)) as client:
            plain = await client.chat(stream=True)
            asked = await client.chat(stream=True, stream_options={"include_usage": True})
            declined = await client.chat(stream=True, stream_options={"include_usage": False})
            assert len(plain.events) == len(declined.events) == len(PIECES) + 1
            assert plain.events[-1] == "[DONE]"
            assert len(asked.events) == len(PIECES) + 2
            assert all(body["stream_options"] == {"include_usage": True} for body in engine.bodies)
            lines = client.metered()
            assert [(each["prompt_tokens"], each["completion_tokens"]) for each in lines] == [(17, 5)] * 3
            assert all(each["is_exact"] and each["is_stream"] and each["ttft_ms"] > 0 for each in lines)

    asyncio.run(run())


def test_usage_is_written_before_the_last_byte_leaves(tmp_path: Path) -> None:
    async def run() -> None:
        async with running_engine() as engine, client_of(tmp_path, endpoint("chat", engine.url)) as client:
            seen: list[Any] = []
            gateway = client._gateway
            answer = await gateway.chat(
                endpoint_id=1, body=b'{"model":"chat","stream":true,"messages":[{"content":"hi"}]}'
            )
            assert answer.chunks is not None
            async for chunk in answer.chunks:
                if b"[DONE]" in chunk:
                    seen = client.metered()
            await answer.chunks.aclose()  # type: ignore[attr-defined]
            assert [line["completion_tokens"] for line in seen] == [5]
            assert seen[0]["key_id"] is None
            assert len(client.metered()) == 1

    asyncio.run(run())


def test_a_client_that_leaves_aborts_the_engine_and_is_metered(tmp_path: Path) -> None:
    async def run() -> None:
        async with running_engine() as engine, client_of(tmp_path, endpoint("chat", engine.url)) as client:
            await client.chat("linger", stream=True, leave_after=1)
            await asyncio.wait_for(engine.aborted.wait(), 5)
            engine.aborted.clear()
            engine.arrived.clear()
            await client.chat("linger", leave_when=engine.arrived)
            await asyncio.wait_for(engine.aborted.wait(), 5)
            streamed, whole = client.metered()
            assert (streamed["status"], streamed["completion_tokens"], streamed["is_exact"]) == (499, 5, False)
            assert (whole["status"], whole["is_exact"]) == (499, False)
            assert whole["prompt_tokens"] > 0

    asyncio.run(run())


def test_an_engine_that_breaks_off_is_said_and_metered(tmp_path: Path) -> None:
    async def run() -> None:
        async with running_engine() as engine, client_of(tmp_path, endpoint("chat", engine.url)) as client:
            reply = await client.chat("break", stream=True)
            assert "broke off" in reply.events[-1]
            refused = await client.chat("refuse")
            assert (refused.status, refused.json["message"]) == (400, "too long")
            broken, refusal = client.metered()
            assert (broken["status"], broken["completion_tokens"]) == (502, 5)
            assert (refusal["status"], refusal["prompt_tokens"], refusal["is_exact"]) == (400, 0, True)

    asyncio.run(run())
