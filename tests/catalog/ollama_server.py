"""An Ollama registry on loopback: manifests by tag, blobs by digest behind a redirect, ranges, and cuts on demand."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from apps.catalog.ollama import LICENCE, MANIFEST, WEIGHTS


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass
class Registry:
    url: str = ""
    blobs: dict[str, bytes] = field(default_factory=dict)
    tags: dict[str, list[tuple[str, bytes]]] = field(default_factory=dict)  # name:tag -> (media type, data)
    requests: list[tuple[str, str]] = field(default_factory=list)  # path, Range header
    cut_after: int | None = None  # the next blob breaks off there
    damage: bool = False
    slow_downs: int = 0  # as many requests are answered 429
    drip_seconds: float = 0.0  # between two bytes of a manifest

    def publish(self, name: str, weights: bytes, licence: str = "Apache License\nVersion 2.0") -> None:
        layers = [(WEIGHTS, weights), (LICENCE, licence.encode())]
        self.tags[name] = layers
        self.blobs |= {digest(data): data for _, data in layers}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    registry: Registry

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.registry.requests.append((self.path, self.headers.get("Range", "")))
        if self.registry.slow_downs:
            self.registry.slow_downs -= 1
            self._send(429, b"", {"Retry-After": "0"})
        elif found := re.fullmatch(r"/v2/(.+)/manifests/(.+)", self.path):
            self._manifest(f"{found[1]}:{found[2]}")
        elif found := re.fullmatch(r"/v2/.+/blobs/(sha256:.+)", self.path):
            known = found[1] in self.registry.blobs
            self._send(307 if known else 404, b"", {"Location": f"{self.registry.url}/cdn/{found[1]}"} if known else {})
        else:
            self._blob(self.registry.blobs[self.path.removeprefix("/cdn/")])

    def _manifest(self, name: str) -> None:
        if name not in self.registry.tags or self.headers.get("Accept") != MANIFEST:
            self._send(404, b'{"errors": [{"code": "MANIFEST_UNKNOWN"}]}', {})
            return
        layers = [
            {"mediaType": kind, "digest": digest(data), "size": len(data)} for kind, data in self.registry.tags[name]
        ]
        body = json.dumps({"schemaVersion": 2, "layers": layers}).encode()
        if self.registry.drip_seconds:
            self._drip(body)
        else:
            self._send(200, body, {})

    def _drip(self, body: bytes) -> None:
        """A byte at a time, until the other side has had enough."""
        self._send(200, body, {}, 0)
        try:
            for byte in body:
                self.wfile.write(bytes([byte]))
                time.sleep(self.registry.drip_seconds)
        except ConnectionError:
            return

    def _blob(self, data: bytes) -> None:
        status, headers = 200, {}
        if found := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            start, end = int(found[1]), int(found[2] or len(data) - 1)
            status, headers = 206, {"Content-Range": f"bytes {start}-{end}/{len(data)}"}
            data = data[start : end + 1]
        if self.registry.damage:
            data = data[:-1] + bytes([data[-1] ^ 1])
        cut, self.registry.cut_after = self.registry.cut_after, None
        self._send(status, data, headers, cut)

    def _send(self, status: int, body: bytes, headers: dict[str, str], cut: int | None = None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:cut])
        self.close_connection = cut is not None


@contextmanager
def running_registry() -> Iterator[Registry]:
    registry = Registry()
    handler = type("Handler", (_Handler,), {"registry": registry})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    registry.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
