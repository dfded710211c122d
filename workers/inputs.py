"""Files an attempt needs and files it leaves: always inside its own folder, whole or not there at all."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path

from apps.engines.base import Input
from workers.client import Server, Unreachable
from workers.problems import Ordered, Problem

PAUSE_SECONDS = 2.0
DAMAGED_TRIES = 2


def confined(folder: Path, name: str) -> Path:
    """`folder/name`, which must stay inside `folder` even through links; else Problem bad_config."""
    path = (folder / name).resolve()
    if "\0" in name or not path.is_relative_to(folder.resolve()) or path == folder.resolve():
        raise Problem("bad_config", f"The file name {name!r} leaves the attempt's folder.")
    return path


def fetch_inputs(server: Server, uuid: str, inputs: list[Input], folder: Path, must_end: Callable[[], bool]) -> None:
    """Fetches every input into `folder`. Raises Problem for a damaged one, Ordered when told to end."""
    for wanted in inputs:
        path = confined(folder, wanted.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        for tries_left in reversed(range(DAMAGED_TRIES)):
            if _fetch_patiently(server, uuid, wanted, path, must_end):
                break
            if not tries_left:
                raise Problem(
                    "server_error",
                    f"The input {wanted.name} arrived damaged: its size or sha256 is not {wanted.sha256}.",
                )


def _fetch_patiently(server: Server, uuid: str, wanted: Input, path: Path, must_end: Callable[[], bool]) -> bool:
    """Waits out a server that cannot be reached; True when the whole right file is in place."""
    while True:
        if must_end():
            raise Ordered
        try:
            return _fetch(server, uuid, wanted, path)
        except Unreachable:
            time.sleep(PAUSE_SECONDS)


def _fetch(server: Server, uuid: str, wanted: Input, path: Path) -> bool:
    part = path.with_name(path.name + ".part")
    digest = hashlib.sha256()
    with part.open("wb") as file, server.input(wanted.sha256, uuid) as pieces:
        for piece in pieces:
            digest.update(piece)
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    if part.stat().st_size != wanted.size_bytes or digest.hexdigest() != wanted.sha256:
        part.unlink()
        return False
    part.replace(path)
    return True


def write_files(files: dict[str, str], work_dir: Path) -> None:
    for name, text in files.items():
        path = confined(work_dir, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
