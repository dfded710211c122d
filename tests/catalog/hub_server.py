"""A Hub on loopback that speaks the protocol the official client speaks, with faults on demand.

Metadata as JSON, files with ETag, X-Repo-Commit and X-Linked-Size, large ones behind a redirect to a
second address, byte ranges, and the refusals: gated, private, missing, rate-limited.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

LARGE = (".safetensors", ".gguf")  # kept elsewhere, behind a redirect
COMMIT = "0123456789abcdef0123456789abcdef01234567"
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 256,
    "max_position_embeddings": 2048,
    "torch_dtype": "bfloat16",
}
CARD = "---\nlicense: apache-2.0\n---\n# Tiny\n\nA *tiny* model. <script>alert(1)</script>\n"


def safetensors(elements: int = 200_000) -> bytes:
    """A valid file with one bfloat16 tensor."""
    tensor = {"dtype": "BF16", "shape": [elements // 100, 100], "data_offsets": [0, elements * 2]}
    header = json.dumps({"model.embed.weight": tensor}).encode()
    values = (bytes(range(256)) * (elements * 2 // 256 + 1))[: elements * 2]
    return len(header).to_bytes(8, "little") + header + values


def git_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


@dataclass
class Repo:
    files: dict[str, bytes]
    license: Any = "apache-2.0"  # as the card gives it
    license_name: str = ""
    language: Any = "en"  # as the card gives it
    base_model: Any = None  # as the card gives it
    tags: list[str] = field(default_factory=list)
    model_index: Any = None  # scores, as the card gives them
    gated: bool = False  # the files need a token that was let in
    private: bool = False  # everything needs that token
    downloads: int = 1234
    likes: int = 5
    last_modified: str = "2026-05-01T10:00:00.000Z"
    token: str = "hf_let_in"


@dataclass
class Hub:
    """What the server holds and did; tests set faults and read `requests`."""

    url: str = ""
    cdn: str = ""  # the same server under another name, as the real Hub keeps large files elsewhere
    repos: dict[str, Repo] = field(default_factory=dict)
    requests: list[tuple[str, str, str]] = field(default_factory=list)  # method, path, Range header
    cut_after: int | None = None  # the next transfer of a large file breaks off after so many bytes
    keep_cutting: bool = False
    damage: bool = False  # one byte of large files arrives flipped
    damage_small: bool = False  # and of small ones
    freeze_after: int | None = None  # large files stop there, with the connection open
    frozen: threading.Event = field(default_factory=threading.Event)
    thaw: threading.Event = field(default_factory=threading.Event)
    lie_about_size: int = 0  # added to every size the metadata gives
    rate_limited: bool = False
    slow_downs: list[tuple[str, dict[str, str]]] = field(default_factory=list)  # (end of a path, headers): one 429 each
    page_of: int = 1000  # a list goes on behind a Link header after so many rows
    odd_rows: list[Any] = field(default_factory=list)  # in front of what a search finds
    refused_tokens: set[str] = field(default_factory=set)  # of no account: refused even where no token is needed


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_GET(self) -> None:
        self._answer(body_wanted=True)

    def do_HEAD(self) -> None:
        self._answer(body_wanted=False)

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, *, body_wanted: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append((self.command, path, self.headers.get("Range", "")))
        given = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if given in self.hub.refused_tokens:
            self._send(401, b'{"error": "Invalid credentials"}', {}, body_wanted)
        elif self.hub.rate_limited:
            self._send(429, b"", {"Retry-After": "37"}, body_wanted)
        elif path == "/api/models":
            self._list(parse_qs(urlsplit(self.path).query), body_wanted)
        elif (headers := self._slow_down(path)) is not None:
            self._send(429, b"", headers, body_wanted)
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path):
            self._model(match[1], match[2] or "main", body_wanted)
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/([^/]+).*", path):
            self._tree(match[1], match[2], body_wanted)
        elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self._file(match[1], match[2], match[3], body_wanted)
        elif match := re.fullmatch(r"/cdn/([^/]+/[^/]+)/(.+)", path):
            self._bytes(self.hub.repos[match[1]].files[match[2]], {}, body_wanted, large=True)
        else:
            self._send(404, b"{}", {}, body_wanted)

    def _slow_down(self, path: str) -> dict[str, str] | None:
        for each in self.hub.slow_downs:
            if path.endswith(each[0]):
                self.hub.slow_downs.remove(each)
                return each[1]
        return None

    def _repo(self, name: str, revision: str, body_wanted: bool) -> Repo | None:
        repo = self.hub.repos.get(name)
        if repo is None or (repo.private and not self._is_let_in(repo)):
            self._send(401, b"{}", {"X-Error-Code": "RepoNotFound"}, body_wanted)
            return None
        if revision not in ("main", COMMIT):
            self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"}, body_wanted)
            return None
        return repo

    def _is_let_in(self, repo: Repo) -> bool:
        return self.headers.get("Authorization") == f"Bearer {repo.token}"

    def _list(self, asked: dict[str, list[str]], body_wanted: bool) -> None:
        """By a part of the name in either case; with `expand`, of each row only what was asked for. Private
        repositories are listed to their own people only."""
        part, sort = asked.get("search", [""])[0].lower(), asked.get("sort", [""])[0]
        seen = {name: repo for name, repo in self.hub.repos.items() if part in name.lower()}
        rows = [self._row(name, repo) for name, repo in seen.items() if not repo.private or self._is_let_in(repo)]
        rows.sort(key=lambda row: row.get(sort, 0), reverse=True)
        start = int(asked.get("cursor", ["0"])[0])
        end = start + min(int(asked.get("limit", ["1000"])[0]), self.hub.page_of)
        shown = {"id", "_id", *asked["expand"]} if "expand" in asked else {*rows[0]} if rows else set()
        body = [*self.hub.odd_rows, *({key: row[key] for key in row if key in shown} for row in rows[start:end])]
        query = urlencode({key: each for key, each in asked.items() if key != "cursor"} | {"cursor": end}, doseq=True)
        link = {"Link": f'<{self.hub.url}/api/models?{query}>; rel="next"'} if end < len(rows) else {}
        headers = {"Content-Type": "application/json"} | link
        self._send(200, json.dumps(body).encode(), headers, body_wanted)

    def _row(self, name: str, repo: Repo) -> dict[str, Any]:
        return {
            "_id": hashlib.sha256(name.encode()).hexdigest()[:24],
            "id": name,
            "modelId": name,
            "likes": repo.likes,
            "downloads": repo.downloads,
            "lastModified": repo.last_modified,
            "gated": "manual" if repo.gated else False,
            "private": repo.private,
            "pipeline_tag": "text-generation",
            "library_name": "transformers",
            "tags": ["transformers", *repo.tags, f"license:{repo.license}"],
        }

    def _model(self, name: str, revision: str, body_wanted: bool) -> None:
        if (repo := self._repo(name, revision, body_wanted)) is None:
            return
        body = {
            "id": name,
            "author": name.partition("/")[0],
            "sha": COMMIT,
            "gated": "manual" if repo.gated else False,
            "private": repo.private,
            "pipeline_tag": "text-generation",
            "library_name": "transformers",
            "tags": repo.tags,
            "downloads": repo.downloads,
            "cardData": {"license": repo.license, "language": repo.language, "model-index": repo.model_index}
            | ({"license_name": repo.license_name} if repo.license_name else {})
            | ({"base_model": repo.base_model} if repo.base_model else {}),
            "siblings": [self._sibling(path, data) for path, data in repo.files.items()],
        }
        self._send(200, json.dumps(body).encode(), {"Content-Type": "application/json"}, body_wanted)

    def _sibling(self, path: str, data: bytes) -> dict[str, Any]:
        size = len(data) + self.hub.lie_about_size
        row: dict[str, Any] = {"rfilename": path, "size": size, "blobId": git_id(data)}
        if path.endswith(LARGE):
            row["lfs"] = {"size": size, "sha256": hashlib.sha256(data).hexdigest(), "pointerSize": 134}
        return row

    def _tree(self, name: str, revision: str, body_wanted: bool) -> None:
        if (repo := self._repo(name, revision, body_wanted)) is None:
            return
        rows = [
            {"type": "file", "path": row["rfilename"], "size": row["size"], "oid": row["blobId"]}
            | ({"lfs": {"oid": row["lfs"]["sha256"], "size": row["size"], "pointerSize": 134}} if "lfs" in row else {})
            for row in (self._sibling(path, data) for path, data in repo.files.items())
        ]
        self._send(200, json.dumps(rows).encode(), {"Content-Type": "application/json"}, body_wanted)

    def _file(self, name: str, revision: str, path: str, body_wanted: bool) -> None:
        if (repo := self._repo(name, revision, body_wanted)) is None:
            return
        if repo.gated and not self._is_let_in(repo):
            status = 403 if self.headers.get("Authorization") else 401
            self._send(status, b"", {"X-Error-Code": "GatedRepo"}, body_wanted)
        elif path not in repo.files:
            self._send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}, body_wanted)
        else:
            self._known_file(name, path, repo.files[path], body_wanted)

    def _known_file(self, name: str, path: str, data: bytes, body_wanted: bool) -> None:
        headers = {"X-Repo-Commit": COMMIT}
        if not path.endswith(LARGE):
            self._bytes(data, headers | {"ETag": f'"{git_id(data)}"'}, body_wanted)
            return
        headers |= {
            "X-Linked-Size": str(len(data) + self.hub.lie_about_size),
            "X-Linked-ETag": f'"{hashlib.sha256(data).hexdigest()}"',
            "Location": f"{self.hub.cdn}/cdn/{name}/{path}",
        }
        self._send(302, b"", headers, body_wanted)

    def _bytes(self, data: bytes, headers: dict[str, str], body_wanted: bool, *, large: bool = False) -> None:
        status, start = 200, 0
        headers = headers | {"Accept-Ranges": "bytes"}
        if match := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            start, end = int(match[1]), int(match[2] or len(data) - 1)
            status, headers["Content-Range"] = 206, f"bytes {start}-{end}/{len(data)}"
            data = data[start : end + 1]
        if self.hub.damage if large else self.hub.damage_small:
            data = data[:-1] + bytes([data[-1] ^ 1])
        cut = self._cut() if large and body_wanted else None
        self._send(status, data, headers, body_wanted, cut=cut, large=large)

    def _freeze(self, body: bytes, after: int) -> None:
        self.wfile.write(body[:after])
        self.wfile.flush()
        self.hub.frozen.set()
        self.hub.thaw.wait(60)
        self.close_connection = True

    def _cut(self) -> int | None:
        cut = self.hub.cut_after
        if not self.hub.keep_cutting:
            self.hub.cut_after = None
        return cut

    def _send(
        self,
        status: int,
        body: bytes,
        headers: dict[str, str],
        body_wanted: bool,
        *,
        cut: int | None = None,
        large: bool = False,
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if body_wanted and large and self.hub.freeze_after is not None:
            self._freeze(body, self.hub.freeze_after)
        elif body_wanted:
            self.wfile.write(body if cut is None else body[:cut])
        if cut is not None:
            self.close_connection = True


@contextmanager
def running_hub() -> Iterator[Hub]:
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.url, hub.cdn = (f"http://{name}:{server.server_port}" for name in ("127.0.0.1", "localhost"))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def tiny_repo(**changes: Any) -> Repo:
    files = {
        "config.json": json.dumps(CONFIG).encode(),
        "model.safetensors": safetensors(),
        "tokenizer_config.json": b'{"chat_template": "{{ messages }}"}',
        "README.md": CARD.encode(),
        "pytorch_model.bin": b"never fetched",
    }
    return Repo(files=files, **changes)
