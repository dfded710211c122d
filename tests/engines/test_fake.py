"""The fake engine as the agent runs it: a real process whose lines and files the adapter reads."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from apps.engines.base import Event, ModelRef, Placement, RunSpec
from apps.engines.programs.fake_server import ANSWER, FakeHandler
from apps.engines.registry import get_engine


def run(spec: RunSpec, work_dir: Path) -> tuple[int, list[Event]]:
    engine = get_engine(spec.engine)
    command = engine.command(spec, Placement(work_dir=str(work_dir), env_prefix=sys.prefix))
    done = subprocess.run(command.argv, capture_output=True, text=True, check=False, timeout=60)
    events = [engine.read_line(line) for line in done.stdout.splitlines()]
    return done.returncode, [event for event in events if event is not None]


def test_training_reports_a_curve_and_leaves_an_adapter(tmp_path: Path) -> None:
    spec = RunSpec(kind="train", engine="fake-train", options={"seconds": 0, "steps": 4})
    code, events = run(spec, tmp_path)
    curve = [event.metrics["loss"] for event in events if "loss" in event.metrics]
    assert code == 0
    assert len(curve) == 4
    assert curve == sorted(curve, reverse=True)
    assert get_engine("fake-train").collect(spec, tmp_path).produced[0].role == "adapter"


def test_evaluation_scores_the_items_it_was_given(tmp_path: Path) -> None:
    (tmp_path / "inputs").mkdir()
    (tmp_path / "inputs/t.jsonl").write_text('{"question": "a"}\n{"question": "b"}\n{"question": "c"}\n')
    spec = RunSpec(
        kind="evaluate", engine="fake-eval", model=ModelRef(name="m"), options={"seconds": 0},
        payload={"tasks": ["t"], "limit": 2},
    )  # fmt: skip
    assert run(spec, tmp_path)[0] == 0
    result = get_engine("fake-eval").collect(spec, tmp_path)
    samples = [json.loads(line) for line in (tmp_path / result.outputs[0]).read_text().splitlines()]
    (score,) = result.data["tasks"]
    assert score["n_samples"] == len(samples) == 2
    assert score["value"] == sum(each["acc"] for each in samples) / 2


def test_a_failure_on_request_names_its_cause(tmp_path: Path) -> None:
    code, events = run(
        RunSpec(kind="train", engine="fake-train", options={"seconds": 0, "fail_with": "The disk is made of cheese"}),
        tmp_path,
    )
    assert code == 1
    assert events[-1].cause == "The disk is made of cheese"


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), FakeHandler) as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield found
        found.shutdown()
        thread.join()


def ask(server: ThreadingHTTPServer, path: str, body: dict[str, Any]) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
    connection.request("POST", path, json.dumps(body))
    answer = connection.getresponse()
    found = answer.status, answer.read().decode()
    connection.close()
    return found


def test_it_answers_whole_with_usage(server: ThreadingHTTPServer) -> None:
    body = {"model": "fake", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5}
    status, text = ask(server, "/v1/chat/completions", body)
    answer = json.loads(text)
    assert status == 200
    assert answer["choices"][0]["message"]["content"] == "This is the fake engine."
    assert answer["usage"]["completion_tokens"] == 5


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_it_streams_the_same_words(server: ThreadingHTTPServer, path: str) -> None:
    body = {"model": "fake", "prompt": "hi", "stream": True, "stream_options": {"include_usage": True}}
    _, text = ask(server, path, body)
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    assert lines.pop() == "[DONE]"
    parts = [json.loads(line) for line in lines]
    assert parts.pop()["usage"]["completion_tokens"] == len(ANSWER.split())
    choices = [part["choices"][0] for part in parts]
    assert "".join(each.get("text") or each["delta"]["content"] for each in choices) == ANSWER


def test_another_model_is_refused(server: ThreadingHTTPServer) -> None:
    assert ask(server, "/v1/completions", {"model": "gpt", "prompt": "hi"})[0] == 404
