"""Deploy by the form, chat through /v1 with a virtual key, and count every token once."""

from __future__ import annotations

import json
from typing import Any

import httpx
import psycopg
import pytest

from tests.flows.conftest import submit_form
from tests.flows.stack import Stack, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
MESSAGES = [{"role": "user", "content": "Tell me about pebbles"}]


def _ask(caller: httpx.Client) -> httpx.Response:
    return caller.post("chat/completions", json={"model": "pebble-chat", "messages": MESSAGES})


def test_deploy_chat_meter_stop(stack: Stack, browser: httpx.Client, version: str) -> None:
    page = submit_form(
        browser, "/endpoints/new", version=version.removeprefix("mv-"), name="pebble-chat", engine="fake-serve",
        **{"shown_engine": "fake-serve", "option-seconds": "0.5"},
    )  # fmt: skip
    assert page.url.path.startswith("/endpoints/ep-"), page.text
    endpoint = page.url.path.rpartition("/")[2]
    wait_for(
        lambda: stack.get(f"endpoints/{endpoint}")["is_ready"], 60, lambda: str(stack.get(f"endpoints/{endpoint}"))
    )
    assert "Live" in browser.get(page.url.path).text
    made = stack.post("virtual-keys", {"name": "flow"})
    with httpx.Client(base_url=f"{stack.url}/v1/", headers={"Authorization": f"Bearer {made['key']}"}) as caller:
        expected = [chat(caller), chat(caller, max_tokens=3), chat_streamed(caller)]
        assert [usage["completion_tokens"] for usage in expected][1] == 3
        wait_for(lambda: len(usage_rows(stack, made["id"])) == 3, 20, lambda: str(usage_rows(stack, made["id"])))
        assert usage_rows(stack, made["id"]) == [
            (usage["prompt_tokens"], usage["completion_tokens"], True, is_stream)
            for usage, is_stream in zip(expected, (False, False, True), strict=True)
        ]
        stack.post(f"endpoints/{endpoint}/stop", {})
        wait_for(lambda: _ask(caller).status_code in (404, 503), 10, lambda: _ask(caller).text)
    job = stack.get(f"endpoints/{endpoint}")["job"]["id"]
    stack.job_in(job, "cancelled")
    assert stack.get(f"endpoints/{endpoint}")["state"] == "Stopped"


def chat(caller: httpx.Client, **fields: Any) -> dict[str, int]:
    answer = caller.post("chat/completions", json={"model": "pebble-chat", "messages": MESSAGES} | fields)
    assert answer.status_code == 200, answer.text
    usage: dict[str, int] = answer.json()["usage"]
    return usage


def chat_streamed(caller: httpx.Client) -> dict[str, int]:
    """Usage as the stream itself tells it."""
    asked = {"model": "pebble-chat", "messages": MESSAGES, "stream": True, "stream_options": {"include_usage": True}}
    with caller.stream("POST", "chat/completions", json=asked) as stream:
        assert stream.status_code == 200
        events = [line.removeprefix("data: ") for line in stream.iter_lines() if line]
    assert events[-1] == "[DONE]"
    parts = [json.loads(event) for event in events[:-1]]
    words = [choice["delta"]["content"] for part in parts for choice in part["choices"]]
    assert "".join(words).startswith("This is the fake engine")
    usage: dict[str, int] = parts[-1]["usage"]
    assert usage["completion_tokens"] == len(words)
    return usage


def usage_rows(stack: Stack, key: str) -> list[tuple[Any, ...]]:
    """What the control worker moved from the gateway's spool, oldest first."""
    with psycopg.connect(stack.services()["database_url"]) as connection:
        return connection.execute(
            "select prompt_tokens, completion_tokens, is_exact, is_stream from gateway_usagerecord"
            " where key_id = %s order by at",
            [int(key.rpartition("-")[2])],
        ).fetchall()
