"""The fake engine's HTTP side: OpenAI's shapes with made-up words, streaming and not, with usage."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from apps.engines.lines import measured_line, phase_line

ANSWER = "This is the fake engine. It read your message and made up this answer."


def serve(port: int, name: str, load_seconds: float, say: Callable[[str], None]) -> None:
    """Loads for a while, then answers on loopback until it is told to end."""
    time.sleep(load_seconds)
    handler = type("Handler", (FakeHandler,), {"served_name": name})
    with ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        say(measured_line(weights_bytes=1_000_000, kv_cache_tokens=4096, max_concurrency=2.0))
        say(phase_line("ready"))
        server.serve_forever()


class FakeHandler(BaseHTTPRequestHandler):
    served_name = "fake"
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/health":
            self.answer(200, {})
        elif self.path == "/v1/models":
            model = {"id": self.served_name, "object": "model", "owned_by": "fake", "max_model_len": 4096}
            self.answer(200, {"object": "list", "data": [model]})
        else:
            self.answer(404, {"error": {"message": f"The fake engine has no {self.path}", "code": 404}})

    def do_POST(self) -> None:
        is_chat = self.path == "/v1/chat/completions"
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        if not is_chat and self.path != "/v1/completions":
            self.answer(404, {"error": {"message": f"The fake engine has no {self.path}", "code": 404}})
        elif body.get("model") != self.served_name:
            message = f"The model {body.get('model')!r} does not exist"
            self.answer(404, {"error": {"message": message, "type": "NotFoundError", "code": 404}})
        elif body.get("stream"):
            self.stream(body, is_chat)
        else:
            self.answer(200, whole(body, self.served_name, is_chat))

    def answer(self, status: int, body: dict[str, Any]) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def stream(self, body: dict[str, Any], is_chat: bool) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for data in chunks(body, self.served_name, is_chat):
            line = f"data: {data}\n\n".encode()
            self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged: readiness probes would fill the log."""


def words(body: dict[str, Any]) -> list[str]:
    """As many of the answer's words as the request allows tokens; a word counts as a token."""
    limit = body.get("max_completion_tokens") or body.get("max_tokens") or 64
    said = ANSWER.split()[: int(limit)]
    return [word if number == 0 else f" {word}" for number, word in enumerate(said)]


def usage(body: dict[str, Any], answer_tokens: int) -> dict[str, int]:
    text = json.dumps(body.get("messages") or body.get("prompt") or "")
    prompt_tokens = len(text.split())
    return {
        "prompt_tokens": prompt_tokens, "completion_tokens": answer_tokens,
        "total_tokens": prompt_tokens + answer_tokens,
    }  # fmt: skip


def envelope(name: str, kind: str, choice: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": "fake-1", "object": kind, "created": int(time.time()), "model": name,
        "system_fingerprint": "fake", "choices": [{"index": 0, "logprobs": None, **choice}],
    }  # fmt: skip


def whole(body: dict[str, Any], name: str, is_chat: bool) -> dict[str, Any]:
    said = words(body)
    text = "".join(said)
    content = {"message": {"role": "assistant", "content": text}} if is_chat else {"text": text}
    kind = "chat.completion" if is_chat else "text_completion"
    return envelope(name, kind, content | {"finish_reason": "stop"}) | {"usage": usage(body, len(said))}


def chunks(body: dict[str, Any], name: str, is_chat: bool) -> Iterator[str]:
    said = words(body)
    kind = "chat.completion.chunk" if is_chat else "text_completion"
    for number, word in enumerate(said):
        role = {"role": "assistant"} if number == 0 else {}
        part = {"delta": role | {"content": word}} if is_chat else {"text": word}
        end = "stop" if number == len(said) - 1 else None
        yield json.dumps(envelope(name, kind, part | {"finish_reason": end}))
    if (body.get("stream_options") or {}).get("include_usage"):
        yield json.dumps(envelope(name, kind, {}) | {"choices": [], "usage": usage(body, len(said))})
    yield "[DONE]"
