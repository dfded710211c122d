"""The downloader as a real process against a small server that speaks the Hub's protocol."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from apps.engines.programs.fake_run import write_tensor

SHA = "c0ffee" + "0" * 34


class Hub(BaseHTTPRequestHandler):
    """One public model `team/model`, a gated one, and nothing else."""

    files: dict[str, bytes] = {}
    asked: list[str] = []
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.respond()

    def do_GET(self) -> None:
        self.respond()

    def respond(self) -> None:
        path = urlsplit(self.path).path
        self.asked.append(f"{self.command} {path}")
        if "team/gated" in path:
            self.send(403, b"{}", {"X-Error-Code": "GatedRepo", "X-Error-Message": "Ask for access"})
        elif "team/model" not in path:
            self.send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif "/revision/" in path and path.rsplit("/", 1)[1] not in ("main", SHA):
            self.send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        elif path.startswith("/api/"):
            listing = self.tree() if "/tree/" in path else {"id": "team/model", "sha": SHA, "siblings": self.siblings()}
            self.send(200, json.dumps(listing).encode(), {"Content-Type": "application/json"})
        else:
            raw = self.files[path.rsplit("/", 1)[1]]
            self.send(200, raw, {"ETag": f'"{hashlib.sha256(raw).hexdigest()}"', "X-Repo-Commit": SHA})

    def siblings(self) -> list[dict[str, Any]]:
        return [
            {"rfilename": name, "size": len(raw), "blobId": "b",
             "lfs": {"sha256": hashlib.sha256(raw).hexdigest(), "size": len(raw), "pointerSize": 1}}
            for name, raw in self.files.items()
        ]  # fmt: skip

    def tree(self) -> list[dict[str, Any]]:
        return [
            {
                "type": "file",
                "path": name,
                "size": len(raw),
                "oid": hashlib.sha1(raw, usedforsecurity=False).hexdigest(),
            }
            for name, raw in self.files.items()
        ]

    def send(self, status: int, raw: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(raw)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    write_tensor(tmp_path / "weights")
    files = {
        "config.json": b"{}",
        "model.safetensors": (tmp_path / "weights").read_bytes(),
        "pytorch_model.bin": b"pickled",
    }
    handler = type("OneHub", (Hub,), {"files": files, "asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", handler.asked
        server.shutdown()
        thread.join()


def fetch(endpoint: str, source: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "workers.downloads", source, "--into", str(tmp_path / "model")]
    env = {
        "PATH": os.environ["PATH"], "HOME": str(tmp_path), "HF_ENDPOINT": endpoint, "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "127.0.0.1",
    }  # fmt: skip
    argv += ["--record", str(tmp_path / "record.json")]
    return subprocess.run(argv, capture_output=True, text=True, check=False, env=env, timeout=100)


def test_a_repository_arrives_whole_and_without_pickles(tmp_path: Path, hub: tuple[str, list[str]]) -> None:
    endpoint, asked = hub
    done = fetch(endpoint, "hub:team/model", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads((tmp_path / "record.json").read_text())
    assert (record["revision"], record["source"]) == (SHA, "hub:team/model@main")
    assert [file["path"] for file in record["files"]] == ["config.json", "model.safetensors"]
    assert not any("pytorch_model.bin" in line for line in asked)
    assert not any("agent" in line for line in asked), "the Hub's client counts who uses it"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("hub:team/gated", "gated_model"),
        ("hub:team/nothing", "model_not_found"),
        ("hub:team/model@v9", "model_not_found"),
    ],
)
def test_what_cannot_be_had_says_why(tmp_path: Path, hub: tuple[str, list[str]], source: str, reason: str) -> None:
    done = fetch(hub[0], source, tmp_path)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].startswith(f"failed ({reason}): team/")
    assert not (tmp_path / "model").exists()


def test_a_hub_that_cannot_be_reached_is_told(tmp_path: Path) -> None:
    done = fetch("http://127.0.0.1:9", "hub:team/model", tmp_path)
    assert done.returncode == 1
    assert "failed (engine_exited): The Hub cannot be reached" in done.stdout
