"""The server's half of docs/worker-protocol.md in one file, strict about tokens, leases and offsets."""

from __future__ import annotations

import hashlib
import json
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

HOST_TOKEN = "swh_test"
JOIN_TOKEN = "swj_test"
MAX_RESULT_BYTES = 1024 * 1024


@dataclass
class Held:
    """The server's row of one attempt."""

    spec: dict[str, Any]
    uuid: str = field(default_factory=lambda: str(uuid.uuid4()))
    epoch: int = 1
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    port: int = 0
    model_path: str = ""
    devices: list[int] = field(default_factory=list)
    grace_seconds: float = 5.0
    start_timeout_seconds: float = 60.0
    stall_seconds: float = 60.0
    claimed: bool = False
    cancel: bool = False
    is_open: bool = True
    log: bytes = b""
    metrics: dict[tuple[str, float], float] = field(default_factory=dict)
    outputs: dict[str, bytes] = field(default_factory=dict)
    started: dict[str, Any] = field(default_factory=dict)
    beat: dict[str, Any] = field(default_factory=dict)
    finish: dict[str, Any] = field(default_factory=dict)
    claims: int = 0
    secrets: dict[str, str] = field(default_factory=dict)
    resume_from: list[dict[str, Any]] = field(default_factory=list)
    is_over: bool = False  # its job: what it left is not needed any more
    unknown: int = 0  # what every call about it is answered with: it is not in a restored database


class Refusal(Exception):
    def __init__(self, status: int, detail: str, **more: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.problem = {"title": "Refused", "status": status, "detail": detail, **more}


class ProtocolServer:
    """`change` is notified after every call, so that tests wait for facts and not for time."""

    def __init__(self) -> None:
        self.attempts: dict[str, Held] = {}
        self.blobs: dict[str, bytes] = {}
        self.inventories: list[dict[str, Any]] = []
        self.samples: list[dict[str, Any]] = []
        self.wrong_calls: list[str] = []
        self.is_down = False
        self.has_left = False
        self.open_when_left: list[str] = []
        self.answers_to_lose: dict[str, int] = {}  # last path part -> how many
        self.max_output_bytes = 512 * 1024**2
        self.unknown_reasons: set[str] = set()
        self.on_finish: Callable[[Held], None] = lambda attempt: None
        self.change = threading.Condition()
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()

    def add(self, spec: dict[str, Any], **more: Any) -> Held:
        attempt = Held(spec=spec, **more)
        with self.change:
            self.attempts[attempt.uuid] = attempt
        return attempt

    def add_input(self, name: str, data: bytes) -> dict[str, Any]:
        sha256 = hashlib.sha256(data).hexdigest()
        self.blobs[sha256] = data
        return {"name": name, "sha256": sha256, "size_bytes": len(data)}

    def wait(self, fact: Callable[[], Any], timeout_seconds: float = 20.0) -> Any:
        with self.change:
            found = self.change.wait_for(fact, timeout_seconds)
        assert found, f"not within {timeout_seconds} s; {[vars(held) for held in self.attempts.values()]}"
        return found

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes, kept: list[str]) -> Any:
        parts = path.removeprefix("/api/worker/v1/").split("/")
        if method == "GET" and parts == ["assignments"]:
            return self.do_assignments(kept)
        if method == "GET" and parts[0] == "inputs":
            if not self.attempts[query["attempt"]].claimed:
                raise Refusal(409, "not held")
            return self.blobs[parts[1]]
        if parts[0] == "attempts":
            if self.attempts[parts[1]].unknown and (parts[2], self.attempts[parts[1]].unknown) != ("finish", 410):
                raise Refusal(self.attempts[parts[1]].unknown, "unknown here")
            return getattr(self, f"do_{parts[2]}")(self.attempts[parts[1]], query, body)
        return getattr(self, f"do_{parts[0]}")(json.loads(body))

    def do_join(self, body: dict[str, Any]) -> dict[str, Any]:
        name = body["name"]
        host = {"id": name, "name": name}
        broker = {"queue": f"gpu.{name}", "broker_url": "", "broker_prefix": f"gpu.{name}:"}
        return {"host_token": HOST_TOKEN, "host": host, "lease_seconds": 60, "heartbeat_seconds": 5, **broker}

    def do_assignments(self, kept: list[str]) -> dict[str, Any]:
        listed = [_assignment(held) for held in self.attempts.values() if held.is_open and not held.unknown]
        return {"attempts": listed, "kept": [uuid for uuid in kept if not self.attempts[uuid].is_over]}

    def do_claim(self, held: Held, query: dict[str, str], body: bytes) -> dict[str, Any]:
        if not held.is_open or json.loads(body)["epoch"] != held.epoch:
            raise Refusal(409, "not open")
        held.claimed = True
        held.claims += 1
        return {
            "lease_token": held.token,
            "lease_seconds": 60,
            "spec": held.spec,
            "placement": {"port": held.port, "model_path": held.model_path, "variant": "cpu", "devices": held.devices},
            "stop_grace_seconds": held.grace_seconds,
            "start_timeout_seconds": held.start_timeout_seconds,
            "stall_seconds": held.stall_seconds,
            "secrets": held.secrets,
            "resume_from": held.resume_from,
        }

    def do_started(self, held: Held, query: dict[str, str], body: bytes) -> dict[str, Any]:
        _check_lease(held, query["epoch"], query["lease_token"])
        held.started = json.loads(body)
        return {}

    def do_logs(self, held: Held, query: dict[str, str], body: bytes) -> dict[str, Any]:
        _check_lease(held, query["epoch"], query["lease_token"])
        offset = int(query["offset"])
        if offset > len(held.log):
            raise Refusal(409, "gap", expected_offset=len(held.log))
        held.log += body[len(held.log) - offset :]
        return {"offset": len(held.log)}

    def do_metrics(self, held: Held, query: dict[str, str], body: bytes) -> dict[str, Any]:
        _check_lease(held, query["epoch"], query["lease_token"])
        for point in json.loads(body)["points"]:
            held.metrics[point["name"], point["step"]] = point["value"]
        return {}

    def do_outputs(self, held: Held, query: dict[str, str], body: bytes) -> dict[str, Any]:
        _check_lease(held, query["epoch"], query["lease_token"])
        if len(body) > self.max_output_bytes:
            raise Refusal(413, "too large")
        held.outputs[query["name"]] = body
        return {"sha256": hashlib.sha256(body).hexdigest(), "size_bytes": len(body)}

    def do_finish(self, held: Held, query: dict[str, str], body: bytes) -> dict[str, Any]:
        told = json.loads(body)
        if not held.finish:
            _check_lease(held, told["epoch"], told["lease_token"])
            if len(json.dumps(told["result"])) > MAX_RESULT_BYTES:
                raise Refusal(413, "too large")
            if told["reason"] in self.unknown_reasons:
                raise Refusal(422, "no such reason")
            self.on_finish(held)
            held.finish, held.is_open = told, False
        return {}

    def do_heartbeat(self, body: dict[str, Any]) -> dict[str, Any]:
        answers = []
        for row in body["attempts"]:
            held = self.attempts[row["uuid"]]
            is_ours = held.is_open and (row["epoch"], row["lease_token"]) == (held.epoch, held.token)
            held.beat = row
            answer = ("cancel" if held.cancel else "run") if is_ours else "gone"
            answer = {503: "hold", 410: "cancel"}.get(held.unknown, answer)
            answers.append({"uuid": held.uuid, "answer": answer})
        return {"attempts": answers}

    def do_inventory(self, body: dict[str, Any]) -> dict[str, Any]:
        self.inventories.append(body)
        return {}

    def do_leave(self, body: dict[str, Any]) -> dict[str, Any]:
        self.open_when_left = [held.uuid for held in self.attempts.values() if held.is_open and held.claimed]
        self.has_left = True
        return {}

    def do_telemetry(self, body: dict[str, Any]) -> dict[str, Any]:
        self.samples += body["samples"]
        return {}

    def respond(self, method: str, target: str, headers: Message, body: bytes) -> tuple[int, bytes] | None:
        """Status and body; None for an answer that is lost on the way, after the call has had its effect."""
        url = urlsplit(target)
        lists = parse_qs(url.query)
        query = {key: values[0] for key, values in lists.items()}
        last = url.path.rsplit("/", 1)[-1]
        status, answer = 200, None
        with self.change:
            if self.is_down:
                return 503, b""
            try:
                _check_headers(headers, JOIN_TOKEN if last == "join" else HOST_TOKEN)
                answer = self.answer(method, url.path, query, body, lists.get("kept", []))
            except Refusal as refusal:
                status, answer = refusal.status, refusal.problem
            except Exception as error:
                self.wrong_calls.append(f"{method} {target}: {error!r}")
                status, answer = 500, {"detail": repr(error)}
            self.change.notify_all()
            if self.answers_to_lose.get(last, 0) > 0:
                self.answers_to_lose[last] -= 1
                return None
        return status, answer if isinstance(answer, bytes) else json.dumps(answer).encode()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.do_POST()

            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                body = self.rfile.read(length)
                if len(body) < length:  # the worker ended in the middle of a sentence
                    self.close_connection = True
                    return
                answer = server.respond(self.command, self.path, self.headers, body)
                if answer is None:
                    self.close_connection = True
                    return
                self.send_response(answer[0])
                self.send_header("Content-Length", str(len(answer[1])))
                self.end_headers()
                self.wfile.write(answer[1])

            def log_message(self, format: str, *arguments: Any) -> None:
                """Quiet."""

        return Handler


def _check_headers(headers: Message, token: str) -> None:
    if headers["Authorization"] != f"Bearer {token}":
        raise Refusal(401, "The token is not known.")
    if headers["Stackweb-Protocol"] != "1":
        raise Refusal(400, "Another protocol version.")


def _assignment(held: Held) -> dict[str, Any]:
    return {"uuid": held.uuid, "epoch": held.epoch, "claimed": held.claimed, "cancel": held.cancel}


def _check_lease(held: Held, epoch: Any, token: str) -> None:
    if not held.is_open or int(epoch) != held.epoch or token != held.token:
        raise Refusal(409, "The lease is not open.")
