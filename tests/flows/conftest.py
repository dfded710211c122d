"""One running Stackweb for the whole folder, with a tiny model in it and a person signed in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from apps.engines.programs.fake_run import write_tensor
from tests.factories import LLAMA_CONFIG
from tests.flows.stack import Broker, Stack

ROWS = b'{"messages": [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Hello."}]}\n' * 8


@pytest.fixture(scope="package")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    broker = Broker(tmp_path_factory.mktemp("broker"))
    yield broker
    broker.close()


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory, broker: Broker) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("stack")
    stack = Stack(folder, STACKWEB_FAKE_ENGINES="1", REDIS_URL=broker.server.url)
    # A host's own pace is kept from start to start; a quick one makes quick tests.
    pace = stack.home / "host" / "worker.json"
    pace.parent.mkdir(mode=0o700, parents=True)
    pace.write_text(json.dumps({"sweep_seconds": 1.0, "heartbeat_seconds": 0.5}))
    try:
        stack.up()
        yield stack
        code, left = stack.down(), stack.processes()
        assert (code, left) == (0, []), stack.printed()
    finally:
        for process in stack.processes():
            process.kill()


@pytest.fixture(scope="package")
def version(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The id of a model version, imported from a folder on the host by a real download job."""
    folder = tmp_path_factory.mktemp("models") / "pebble"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(LLAMA_CONFIG))
    write_tensor(folder / "model.safetensors")
    started = stack.post("models/import", {"source": "path", "source_ref": str(folder)})
    stack.job_in(started["job"]["id"], "succeeded")
    (model,) = stack.get("models", q="pebble")["items"]
    return model["versions"][0]["id"]


@pytest.fixture(scope="package")
def dataset(stack: Stack) -> Any:
    answer = stack.api.post("datasets", data={"name": "greetings"}, files={"file": ("rows.jsonl", ROWS)})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


@pytest.fixture(scope="package")
def browser(stack: Stack) -> Iterator[httpx.Client]:
    """Alice, who opened the claim link that `stackweb up` printed."""
    found = re.search(r"http://\S+/claim/\S+", stack.printed())
    assert found, stack.printed()
    with httpx.Client(base_url=stack.url, follow_redirects=True, timeout=30) as client:
        page = submit_form(client, found[0], username="alice", password="correct horse battery")
        assert page.url.path == "/", page.text
        yield client


def submit_form(client: httpx.Client, address: str, **fields: str) -> httpx.Response:
    """Opens a page and sends its form with the page's own CSRF token."""
    page = client.get(address)
    assert page.status_code == 200, page.text
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)
    assert token, page.text
    return client.post(address, data={"csrfmiddlewaretoken": token[1]} | fields)
