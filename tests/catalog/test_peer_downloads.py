"""The program a download attempt runs, with a peer that has the files: the Hub stopped, a peer that lies, dies or
refuses, and a folder that no source could give again."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.catalog.hub_server import COMMIT, Hub, running_hub, safetensors, tiny_repo
from tests.catalog.test_download import PROGRAM, ROOT, Ended, environment
from workers.client import PeerFiles, Refused
from workers.peer_server import Handler, PeerServer

TICKET = "a-ticket-that-must-not-be-told"
WEIGHTS = safetensors(elements=3_000_000)
NAMES = ("config.json", "model.safetensors", "tokenizer_config.json")


class Atlas:
    """A host with a copy, and the control plane's word on who may read it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ticket = TICKET
        self.requests: list[tuple[str, str]] = []  # path, Range header
        self.serving: PeerServer | None = None
        self.port = 0
        self.start()

    def peer_files(self, ticket: str) -> PeerFiles:
        if ticket != self.ticket:
            raise Refused(403, "This ticket has expired, or its download has ended.")
        return PeerFiles(path=str(self.folder), files=frozenset(NAMES))

    def start(self, die_after: int | None = None) -> None:
        """With `die_after`, a transfer breaks off after so many bytes and the host is gone."""
        atlas = self

        class Told(Handler):
            def do_GET(self) -> None:  # noqa: N802
                atlas.requests.append((self.path, self.headers.get("Range", "")))
                super().do_GET()

            def _send(self, file: Any) -> None:
                if die_after is None or os.fstat(file.fileno()).st_size < die_after:
                    return super()._send(file)
                self.send_response(200)
                self.send_header("Content-Length", str(os.fstat(file.fileno()).st_size))
                self.end_headers()
                self.connection.sendfile(file, 0, die_after)
                self.close_connection = True
                atlas.serving.socket.close()  # type: ignore[union-attr]  # nobody is let in any more

        self.serving = PeerServer(("127.0.0.1", self.port), self)  # type: ignore[arg-type]
        self.serving.RequestHandlerClass = Told
        self.port = self.serving.server_address[1]
        threading.Thread(target=self.serving.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        assert self.serving is not None
        self.serving.shutdown()
        self.serving.server_close()

    def offer(self) -> dict[str, Any]:
        files = [
            {"path": name, "size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name in NAMES
            for data in [(self.folder / name).read_bytes()]
        ]
        return {"peers": [{"host": "atlas", "address": f"127.0.0.1:{self.port}"}], "files": files}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running_hub() as running:
        running.repos["tiny/model"] = tiny_repo()
        running.repos["tiny/model"].files["model.safetensors"] = WEIGHTS
        del running.repos["tiny/model"].files["README.md"]
        yield running


@pytest.fixture
def atlas(hub: Hub, tmp_path: Path) -> Iterator[Atlas]:
    folder = tmp_path / "atlas"
    folder.mkdir()
    for name in NAMES:
        (folder / name).write_bytes(hub.repos["tiny/model"].files[name])
    host = Atlas(folder)
    yield host
    host.stop()


@pytest.fixture
def copy(hub: Hub, tmp_path: Path) -> Callable[..., Ended]:
    """Runs the program on the host brio."""

    def run(offer: dict[str, Any], source: str = f"hub:tiny/model@{COMMIT}", into: bool = True) -> Ended:
        record, peers, folder = tmp_path / "record.json", tmp_path / "peers.json", tmp_path / "brio/model"
        peers.write_text(json.dumps(offer))
        argv = [*PROGRAM, source, "--record", str(record), "--peers", str(peers)]
        argv += ["--into", str(folder)] if into else []
        env = environment(hub, tmp_path) | {
            "PEER_TICKET": TICKET, "STACKWEB_MODELS_DIR": str(tmp_path / "brio"),
            "HTTP_PROXY": "http://127.0.0.1:1",  # a proxy never stands between two hosts
            "NO_PROXY": f"127.0.0.1:{hub.url.rpartition(':')[2]},localhost",
        }  # fmt: skip
        ran = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False)
        assert TICKET not in ran.stdout + ran.stderr
        assert "Traceback" not in ran.stderr, ran.stderr
        return Ended(ran.returncode, ran.stdout, folder, json.loads(record.read_text()) if record.exists() else None)

    return run


def away(hub: Hub) -> None:
    hub.url = hub.cdn = "http://127.0.0.1:1"


def from_hub(hub: Hub) -> list[str]:
    return [path.rpartition("/")[2] for method, path, _ in hub.requests if method == "GET" and "/api/" not in path]


def test_with_the_hub_stopped_a_peer_gives_every_file(hub: Hub, atlas: Atlas, copy: Any) -> None:
    away(hub)
    ended = copy(atlas.offer())
    assert ended.exit_code == 0, ended.said
    assert {path.name: path.read_bytes() for path in ended.folder.iterdir() if not path.name.startswith(".")} == {
        name: (atlas.folder / name).read_bytes() for name in NAMES
    }
    assert ended.record["files"] == atlas.offer()["files"]
    assert ended.record["came_from"] == "From atlas: 3 of 3 files. From the Hub: none."
    assert ended.record["came_from"] in ended.said
    assert "download_seconds" not in ended.said, "a peer's pace is not the Hub's"
    assert (hub.requests, [path for path in ended.folder.iterdir() if path.name == ".peer"]) == ([], [])


def test_a_peer_that_refuses_leaves_it_to_the_hub(hub: Hub, atlas: Atlas, copy: Any) -> None:
    atlas.ticket = "another"
    ended = copy(atlas.offer())
    assert ended.exit_code == 0, ended.said
    assert "atlas is asked no more: config.json: it answers 403" in ended.said
    assert ended.record["came_from"] == "From the Hub: 3 of 3 files."
    assert len(atlas.requests) == 1
    assert "download_seconds" in ended.said


def test_a_peer_that_lies_about_bytes_is_found_out_and_the_hub_gives_that_file(
    hub: Hub, atlas: Atlas, copy: Any
) -> None:
    offer = atlas.offer()
    (atlas.folder / "model.safetensors").write_bytes(WEIGHTS[:-1] + b"!")
    ended = copy(offer)
    assert ended.exit_code == 0, ended.said
    assert "model.safetensors: its bytes are not those of this model" in ended.said
    assert (ended.folder / "model.safetensors").read_bytes() == WEIGHTS
    assert ended.record["came_from"] == "From atlas: 1 of 3 files. From the Hub: 2 of 3 files."
    assert set(from_hub(hub)) == {"model.safetensors", "tokenizer_config.json"}
    assert ended.record["files"] == offer["files"]


@pytest.mark.parametrize("bytes_sent", [WEIGHTS[:-1000], WEIGHTS + b"more" * 1000])
def test_a_file_too_short_or_too_long_is_none_of_ours(hub: Hub, atlas: Atlas, copy: Any, bytes_sent: bytes) -> None:
    offer = atlas.offer()
    (atlas.folder / "model.safetensors").write_bytes(bytes_sent)
    hub.repos.clear()
    ended = copy(offer)
    assert ended.exit_code == 1
    assert "its bytes are not those of this model" in ended.said
    assert "failed (model_not_found): tiny/model is not on the Hub" in ended.said
    assert (ended.record, ended.folder.exists()) == (None, False)


def test_a_peer_killed_in_the_middle_leaves_the_rest_to_the_hub(hub: Hub, atlas: Atlas, copy: Any) -> None:
    atlas.stop()
    atlas.start(die_after=2_000_000)
    ended = copy(atlas.offer())
    assert ended.exit_code == 0, ended.said
    assert "atlas is asked no more: model.safetensors" in ended.said
    assert (ended.folder / "model.safetensors").read_bytes() == WEIGHTS
    assert ended.record["came_from"] == "From atlas: 1 of 3 files. From the Hub: 2 of 3 files."


def test_a_peer_that_comes_back_goes_on_where_it_was(hub: Hub, atlas: Atlas, copy: Any) -> None:
    hub.repos.clear()
    atlas.stop()
    atlas.start(die_after=2_000_000)
    assert copy(atlas.offer()).exit_code == 1
    atlas.stop()
    atlas.requests.clear()
    atlas.start()
    ended = copy(atlas.offer())
    assert ended.exit_code == 0, ended.said
    assert atlas.requests[0] == ("/files/model.safetensors", "bytes=2000000-")
    assert (ended.folder / "model.safetensors").read_bytes() == WEIGHTS
    assert (
        ended.record["came_from"] == "From an earlier try: 1 of 3 files. From atlas: 2 of 3 files. From the Hub: none."
    )


@pytest.mark.parametrize(("count", "requests"), [(1000, ["bytes=4000-", ""]), (2_000_000, [""])])
def test_what_a_liar_left_is_not_held_against_the_next(
    hub: Hub, atlas: Atlas, copy: Any, count: int, requests: list[str]
) -> None:
    away(hub)
    half = atlas.folder.parent / "brio/model.partial/.peer/model.safetensors"
    half.parent.mkdir(parents=True)
    half.write_bytes(b"lies" * count)
    ended = copy(atlas.offer())
    assert ended.exit_code == 0, ended.said
    asked = [asked for path, asked in atlas.requests if path == "/files/model.safetensors"]
    assert asked == requests
    assert (ended.folder / "model.safetensors").read_bytes() == WEIGHTS


def test_a_second_peer_gives_what_the_first_does_not(hub: Hub, atlas: Atlas, copy: Any) -> None:
    away(hub)
    offer = atlas.offer()
    offer["peers"].insert(0, {"host": "gone", "address": "127.0.0.1:1"})
    ended = copy(offer)
    assert ended.exit_code == 0, ended.said
    assert "gone is asked no more" in ended.said
    assert ended.record["came_from"] == "From atlas: 3 of 3 files. From the Hub: none."


def test_a_found_folder_comes_from_a_peer_or_fails_in_words(hub: Hub, atlas: Atlas, copy: Any) -> None:
    offer, source = atlas.offer(), f"path:{atlas.folder}"
    none = copy(offer | {"peers": []}, source, into=False)
    assert none.exit_code == 1
    assert "lies where it was found, and no host that has it gave all of its files" in none.said
    ended = copy(offer, source, into=False)
    assert ended.exit_code == 0, ended.said
    folder = Path(ended.record["path"])
    assert (folder.parent, folder != atlas.folder) == (atlas.folder.parent / "brio", True)
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert ended.record["came_from"] == "From atlas: 3 of 3 files. From the folder itself: none."


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "a/../../b", "", "a\0b", ".peer/x"])
def test_a_name_that_leads_out_of_the_folder_is_refused(atlas: Atlas, copy: Any, path: str) -> None:
    offer = atlas.offer()
    offer["files"][0]["path"] = path
    ended = copy(offer)
    assert ended.exit_code == 1
    assert "is no file of a model's folder" in ended.said
    assert atlas.requests == []


def test_a_disk_without_room_is_refused_before_a_peer_is_asked(atlas: Atlas, copy: Any) -> None:
    offer = atlas.offer()
    offer["files"][1]["size_bytes"] = 10**16
    ended = copy(offer)
    assert ended.exit_code == 1
    assert "failed (disk_full)" in ended.said
    assert atlas.requests == []
