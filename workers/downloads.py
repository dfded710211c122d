"""Brings one model onto this host and records what it is.

    python -m workers.downloads SOURCE --into FOLDER --record FILE [--variant cpu|cuda] [--peers FILE] [--with-code]

SOURCE is a line of apps.engines.sources. The folder appears under its final name only when it is
whole; until then the bytes lie in `<folder>.partial` and the next try goes on from there. The record
(JSON: path, source, revision, files) is what the download engine reads afterwards. The file of peers
(peer_source.Offer) names the model's files, their hashes and hosts that have them; the source gives what those do not.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from apps.engines.base import CauseReason
from apps.engines.folder import RECORD, files_of_model, manifest, manifest_sha256, missing_parts, visible_files
from apps.engines.lines import failed_line, measured_line, phase_line, progress_line, say
from apps.engines.sources import Source, parse_source
from workers.config import models_dir
from workers.environments import InstallError
from workers.model_sources import (
    DownloadError,
    HubFiles,
    ask_hub,
    cached_snapshot,
    fetch_hub,
    fetch_package,
    git_id,
    leave_refusals_to_patience,
)
from workers.ollama_source import fetch_ollama
from workers.peer_source import ARRIVING, Offer, copy_files, told
from workers.turns import one_at_a_time

MEGABYTE = 1_000_000
ORIGINS = {"hub": "the Hub", "ollama": "the Ollama registry", "package": "the package", "path": "the folder itself"}


def default_folder(source: Source, *, with_code: bool = False) -> Path:
    """A readable folder name under the models folder; one with the repository's Python is another."""
    chosen = f":{source.variant}" if source.variant else ""
    code = ".code" if with_code else ""
    return models_dir() / re.sub(r"[^A-Za-z0-9._-]+", "--", f"{source.name}{chosen}@{source.revision}{code}").lower()


def download(
    source: Source, into: Path, variant: str, offer: Offer | None = None, *, with_code: bool = False
) -> dict[str, Any]:
    """Returns the record of the finished folder; raises DownloadError or InstallError with the cause."""
    if source.kind == "path" and offer is None:
        return _record(source, Found(*files_of_model(Path(source.name))))
    # Two teams may ask for one model; the second finds it whole.
    with one_at_a_time(into.parent, into.name, f"Another job brings {source} to this host; waiting for it"):
        return _download_alone(source, into, variant, offer, with_code=with_code)


def _download_alone(
    source: Source, into: Path, variant: str, offer: Offer | None, *, with_code: bool
) -> dict[str, Any]:
    if (record := _finished(source, into)) is not None:
        say(progress_line(1, 1, "model", f"{source} is already here: {into}"))
        return record
    if into.exists():
        raise DownloadError(
            "bad_config", f"{into} exists and holds something else; choose another name or remove the folder"
        )
    wanted = _hub_files(source, offer, with_code=with_code) if source.kind == "hub" else None
    if wanted is not None and (record := _in_cache(source, wanted)) is not None:
        return record
    partial = into.with_name(into.name + ".partial")
    partial.mkdir(parents=True, exist_ok=True)
    say(phase_line("downloading"))
    began, held = time.monotonic(), _bytes_in(partial)
    try:
        came = copy_files(offer, partial) if offer else {}
        if offer and len(came) == len(offer.files):
            found = Found(partial, list(came), source.revision)
        else:
            came = came if wanted else {}  # only the Hub gives single files
            found = _fetch(source, wanted, came, partial, variant)
    finally:
        _drop_empty(partial)
    if not held and not came:  # else an earlier try or a peer had given a part
        say(measured_line(download_seconds=round(time.monotonic() - began, 1)))
    record = _record(source, found, _checked(offer, came)) | {"path": str(into)}
    if offer is not None:
        record["came_from"] = told(came, len(offer.files), ORIGINS[source.kind])
        say(progress_line(1, 1, "model", record["came_from"]))
    shutil.rmtree(partial / ARRIVING, ignore_errors=True)
    (partial / RECORD).write_text(json.dumps(record))
    partial.rename(into)
    return record


@dataclass(frozen=True)
class Found:
    """Files of a model in a folder: where they came from, and the hashes that their source gave."""

    folder: Path
    names: list[str]
    revision: str = ""
    hashes: dict[str, str] = field(default_factory=dict)
    is_ours: bool = False  # may be removed when it is damaged


def _hub_files(source: Source, offer: Offer | None, *, with_code: bool) -> HubFiles:
    """As the Hub lists them, or as the control plane knows them of the same commit: then the Hub may be away."""
    if offer is None:
        return ask_hub(source, with_code=with_code)
    sizes = {file.path: file.size_bytes for file in offer.files}
    return HubFiles(source.revision, sizes, {file.path: file.sha256 for file in offer.files})


def _fetch(source: Source, wanted: HubFiles | None, came: Mapping[str, str], partial: Path, variant: str) -> Found:
    """From its source, all but what came from peers."""
    if source.kind == "path":
        cause = f"{source} lies where it was found, and no host that has it gave all of its files"
        raise DownloadError("model_not_found", cause)
    if source.kind == "ollama":
        hashes = fetch_ollama(source, partial)
        return Found(partial, visible_files(partial), source.revision, hashes, is_ours=True)
    if wanted is None:
        revision = fetch_package(source, partial, variant)
        return Found(partial, visible_files(partial), revision, is_ours=True)
    fetch_hub(source, wanted, partial, but=came)
    return Found(partial, visible_files(partial), wanted.commit, wanted.hashes, is_ours=True)


def _in_cache(source: Source, wanted: HubFiles) -> dict[str, Any] | None:
    """The record of the files in this host's Hugging Face cache, which stay there; None where one is missing or
    is not what the Hub says."""
    folder = cached_snapshot(source, wanted)
    if folder is None:
        return None
    say(progress_line(0, 1, "model", f"{source} is in this host's Hugging Face cache"))
    try:
        return _record(source, Found(folder, sorted(wanted.sizes), wanted.commit, wanted.hashes)) | {"in_place": True}
    except DownloadError as damage:
        say(progress_line(0, 1, "model", f"Fetched anew: {damage}"))
        return None


def _checked(offer: Offer | None, came: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The manifest of the files that came from peers, whose hashes were looked at then."""
    return {file.path: file.model_dump() for file in offer.files if file.path in came} if offer else {}


def _record(source: Source, found: Found, checked: Mapping[str, dict[str, Any]] | None = None) -> dict[str, Any]:
    """Hashes every file that is not `checked`, which also proves a download."""
    folder, checked = found.folder, checked or {}
    if missing := missing_parts(folder, found.names):
        raise DownloadError("model_not_found", missing)
    names = [name for name in found.names if name not in checked]
    total = sum((folder / name).stat().st_size for name in names)
    done = reported = 0

    def count(size: int) -> None:
        nonlocal done, reported
        done += size
        if done - reported > total / 20 or done == total:
            reported = done
            say(progress_line(round(done / MEGABYTE, 1), round(total / MEGABYTE, 1), "MB", f"Checking {folder.name}"))

    files = manifest(folder, names, count)
    for file in files:
        if damage := _damage(folder / file["path"], file["sha256"], found.hashes.get(file["path"], "")):
            if found.is_ours:
                (folder / file["path"]).unlink()  # the next try fetches it anew, and only it
            raise DownloadError("engine_exited", f"{file['path']} arrived damaged: {damage}; start the download again")
    files = sorted([*checked.values(), *files], key=lambda file: str(file["path"]))
    return {"path": str(folder), "source": str(source), "revision": found.revision, "files": files}


def _damage(path: Path, sha256: str, told: str) -> str:
    """What differs from the hash the source gave; empty when all is well, or it gave none."""
    kind, _, expected = told.rpartition(":")
    found = git_id(path) if kind == "git" else sha256
    return f"its {kind or 'sha256'} hash is {found[:16]}, not {expected[:16]}" if expected not in ("", found) else ""


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _drop_empty(partial: Path) -> None:
    """A folder into which not one byte of the model came."""
    notes = partial / ".cache"
    files = (path for path in partial.rglob("*") if path.is_file())
    if not any(path.suffix == ".incomplete" or notes not in path.parents for path in files):
        shutil.rmtree(partial, ignore_errors=True)


def _finished(source: Source, into: Path) -> dict[str, Any] | None:
    """The record of an earlier whole download of the same source, unless files changed since."""
    if not (into / RECORD).is_file():
        return None
    record: dict[str, Any] = json.loads((into / RECORD).read_text())
    same = record["source"] == str(source) and all(
        (into / file["path"]).is_file() and (into / file["path"]).stat().st_size == file["size_bytes"]
        for file in record["files"]
    )
    return record | {"path": str(into)} if same else None


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m workers.downloads")
    parser.add_argument("source", type=parse_source)
    parser.add_argument("--into", type=Path)
    parser.add_argument("--record", type=Path, required=True)
    parser.add_argument("--variant", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--peers", type=Path)
    parser.add_argument("--with-code", action="store_true")
    given = parser.parse_args(arguments)
    leave_refusals_to_patience()
    try:
        offer = Offer.model_validate_json(given.peers.read_text()) if given.peers else None
        into = given.into or default_folder(_named(given.source, offer), with_code=given.with_code)
        record = download(given.source, into, given.variant, offer, with_code=given.with_code)
    except ValidationError as error:
        return _fail("bad_config", f"{given.peers}: {error.errors()[0]['msg']}")
    except (DownloadError, InstallError) as error:
        return _fail(error.reason, str(error))
    except OSError as error:
        full = "No space left" in str(error) or "quota exceeded" in str(error).lower()
        return _fail("disk_full" if full else "engine_exited", f"{given.source}: {error}")
    given.record.parent.mkdir(parents=True, exist_ok=True)
    part = given.record.with_name(given.record.name + ".part")
    part.write_text(json.dumps(record))
    shutil.move(part, given.record)
    return 0


def _named(source: Source, offer: Offer | None) -> Source:
    """A folder has no revision, so a copy of it is named by its content."""
    if source.kind != "path" or offer is None:
        return source
    return replace(source, revision=manifest_sha256([file.model_dump() for file in offer.files])[:12])


def _fail(reason: CauseReason, cause: str) -> int:
    say(failed_line(reason, " ".join(cause.split())[:600]))
    return 1


if __name__ == "__main__":
    sys.exit(main())
