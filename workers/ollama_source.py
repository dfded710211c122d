"""Fetches the weights of an Ollama model by their digest; a cut goes on where it was."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import httpx2

from apps.engines.lines import progress_line, say
from apps.engines.sources import Source, ollama_registry
from workers.model_sources import DownloadError, check_room, patience

TRIES = 5
PIECE_BYTES, REPORT_BYTES = 1 << 16, 100_000_000
TIMEOUT = httpx2.Timeout(30.0, connect=10.0)


def fetch_ollama(source: Source, folder: Path) -> dict[str, str]:
    """Returns the hash of the one file. Raises DownloadError."""
    model = source.name.rpartition("/")[2]
    target = folder / f"{model}-{source.variant}.gguf"
    registry = ollama_registry()
    url = f"{registry}/v2/{source.name}/blobs/sha256:{source.revision}"
    waiting = patience(source)
    with httpx2.Client(follow_redirects=True, timeout=TIMEOUT) as client:
        for left in reversed(range(TRIES)):
            try:
                waiting.hear(lambda: _continue(client, url, target, source))
                return {target.name: source.revision}
            except httpx2.HTTPStatusError as error:
                status = error.response.status_code
                if status in (401, 403, 404):
                    cause = f"{source} is not in {registry} any more ({status})"
                    raise DownloadError("model_not_found", cause) from error
                if not left:
                    raise DownloadError("engine_exited", f"{registry} answered {status} for {source}") from error
            except httpx2.HTTPError as error:
                if not left:
                    raise DownloadError("engine_exited", f"{registry} cannot be reached: {error}") from error
    raise AssertionError("The last try returns or raises.")


def _continue(client: httpx2.Client, url: str, target: Path, source: Source) -> None:
    """Fetches what is missing behind the bytes that are there."""
    have = target.stat().st_size if target.exists() else 0
    with client.stream("GET", url, headers={"Range": f"bytes={have}-"} if have else {}) as answer:
        if answer.status_code == 416:  # nothing is missing
            return
        answer.raise_for_status()
        if answer.status_code != 206:
            have = 0
        total = have + int(answer.headers.get("Content-Length", 0))
        check_room(target.parent, total - have, str(source))
        with target.open("r+b" if have else "wb") as file:
            file.seek(have)
            _receive(answer, file, have, total)


def _receive(answer: httpx2.Response, file: BinaryIO, have: int, total: int) -> None:
    done = reported = have
    for piece in answer.iter_bytes(PIECE_BYTES):
        file.write(piece)
        done += len(piece)
        if done - reported >= REPORT_BYTES or done == total:
            reported = done
            say(progress_line(round(done / 1e6, 1), round(total / 1e6, 1), "MB", f"Downloading {Path(file.name).name}"))
