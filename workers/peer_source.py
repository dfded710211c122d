"""Copies a model's files from hosts that have them. A file counts once its sha256 is what the control plane says;
whatever a peer does, the caller goes on with the files that came."""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path, PurePosixPath
from urllib.parse import quote

import httpx2
from pydantic import BaseModel, field_validator

from apps.engines.folder import sha256_of
from apps.engines.lines import say
from workers.model_sources import WatchedFolder, check_room

ARRIVING = ".peer"  # in the folder that is filled: hidden, so never taken for a file of the model
EARLIER = "an earlier try"
TRIES = 3
FIRST_PAUSE_SECONDS = 1.0
TIMEOUT = httpx2.Timeout(30.0, connect=5.0)


class Peer(BaseModel):
    host: str
    address: str


class File(BaseModel):
    path: str
    size_bytes: int
    sha256: str

    @field_validator("path")
    @classmethod
    def _stays_inside(cls, path: str) -> str:
        parts = PurePosixPath(path).parts
        if not parts or path.startswith("/") or "\0" in path or {"..", ARRIVING} & set(parts):
            raise ValueError(f"{path!r} is no file of a model's folder")
        return path


class Offer(BaseModel):
    """The files of a model version, and the hosts that have them."""

    peers: list[Peer]
    files: list[File]


class PeerTrouble(Exception):
    """This peer is asked no more; the message says why."""


def copy_files(offer: Offer, folder: Path) -> dict[str, str]:
    """Where each file came from, by its path; what no peer gave is left out. Raises DownloadError for a full disk."""
    came = {file.path: EARLIER for file in offer.files if _is_whole(folder / file.path, file)}
    missing = [file for file in offer.files if file.path not in came]
    check_room(folder, sum(file.size_bytes for file in missing) - _arrived(folder), folder.stem)
    ticket = os.environ.get("PEER_TICKET", "")
    headers = {"Authorization": f"Bearer {ticket}", "Accept-Encoding": "identity"}
    peers = list(offer.peers)
    if missing:
        say(f"Asking for {len(missing)} files: {', '.join(peer.host for peer in peers) or 'no host gives them now'}")
    total = sum(file.size_bytes for file in offer.files)
    with httpx2.Client(headers=headers, timeout=TIMEOUT, trust_env=False) as client, WatchedFolder(folder, total):
        for file in missing:
            if host := _first_that_gives(client, peers, file, folder):
                came[file.path] = host
    return came


def told(came: dict[str, str], count: int, source: str) -> str:
    """In words: where `count` files came from; what no peer gave came from `source`."""
    others = [f"From {host}: {files} of {count} files." for host, files in sorted(Counter(came.values()).items())]
    rest = count - len(came)
    return " ".join([*others, f"From {source}: {f'{rest} of {count} files' if rest else 'none'}."])


def _first_that_gives(client: httpx2.Client, peers: list[Peer], file: File, folder: Path) -> str:
    """The host that gave the file; empty where none did. Peers in trouble leave the list."""
    while peers:
        try:
            _copy(client, peers[0], file, folder)
            return peers[0].host
        except PeerTrouble as trouble:
            say(f"{peers[0].host} is asked no more: {file.path}: {trouble}")
            peers.pop(0)
    return ""


def _copy(client: httpx2.Client, peer: Peer, file: File, folder: Path) -> None:
    """Goes on from bytes of an earlier try or of another peer, but drops them if they were wrong. Or PeerTrouble."""
    part = folder / ARRIVING / file.path
    part.parent.mkdir(parents=True, exist_ok=True)
    had_some = part.exists() and part.stat().st_size > 0
    for _ in range(2 if had_some else 1):
        _receive(client, peer, file, part)
        if _is_whole(part, file):
            (folder / file.path).parent.mkdir(parents=True, exist_ok=True)
            part.rename(folder / file.path)
            return
    raise PeerTrouble("its bytes are not those of this model")


def _receive(client: httpx2.Client, peer: Peer, file: File, part: Path) -> None:
    """Fetches what is missing, again after a cut. Raises PeerTrouble."""
    pause = FIRST_PAUSE_SECONDS
    for left in reversed(range(TRIES)):
        try:
            return _receive_rest(client, f"http://{peer.address}/files/{quote(file.path)}", file, part)
        except httpx2.HTTPStatusError as error:
            trouble, is_final = f"it answers {error.response.status_code}", error.response.status_code != 503
        except httpx2.HTTPError as error:
            trouble, is_final = str(error) or type(error).__name__, False
        if is_final or not left:
            raise PeerTrouble(trouble)
        time.sleep(pause)
        pause *= 2
    raise AssertionError("The last try returns or raises.")


def _receive_rest(client: httpx2.Client, url: str, file: File, part: Path) -> None:
    part.touch()
    have = part.stat().st_size
    if have >= file.size_bytes:
        return
    with client.stream("GET", url, headers={"Range": f"bytes={have}-"} if have else {}) as answer:
        answer.raise_for_status()
        if answer.status_code != 206:
            have = 0
        with part.open("r+b") as target:
            target.truncate(have)
            target.seek(have)
            for piece in answer.iter_raw():
                have += target.write(piece)
                if have > file.size_bytes:  # an endless answer ends here
                    return


def _is_whole(path: Path, file: File) -> bool:
    """A file that is there and is not the model's is removed."""
    if not path.is_file():
        return False
    if path.stat().st_size == file.size_bytes and sha256_of(path) == file.sha256:
        return True
    path.unlink()
    return False


def _arrived(folder: Path) -> int:
    return sum(path.stat().st_size for path in (folder / ARRIVING).rglob("*") if path.is_file())
