"""The backup file: a tar of the database's dump, the key that its secrets are sealed under, and a manifest of both."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from dataclasses import asdict, dataclass
from pathlib import Path

FORMAT = 1
MANIFEST, DUMP, KEY = "manifest.json", "database.dump", "secret-key"


class BackupError(Exception):
    """It was not done; the message says why. Nothing was changed."""


@dataclass(frozen=True)
class Manifest:
    format: int
    made_at: str  # ISO 8601, UTC
    version: str  # of Stackweb
    dump_sha256: str
    key_sha256: str
    rows: dict[str, int]  # of each table, in the snapshot that was dumped


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_archive(path: Path, manifest: Manifest, dump: Path, key: str | None) -> None:
    """Whole or not at all, for its owner only, never over another file. Raises BackupError."""
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            with tarfile.open(fileobj=file, mode="w") as tar:
                _add(tar, MANIFEST, json.dumps(asdict(manifest), indent=1))
                if key is not None:
                    _add(tar, KEY, key)
                tar.add(dump, DUMP)
            file.flush()
            os.fsync(file.fileno())
        os.link(part, path)
    except FileExistsError:
        raise BackupError(f"{path} exists already; a backup replaces no file.") from None
    except OSError as error:
        raise BackupError(f"{path} cannot be written: {error.strerror}.") from None
    finally:
        part.unlink(missing_ok=True)


def _add(tar: tarfile.TarFile, name: str, text: str) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(text.encode()), 0o600
    tar.addfile(member, io.BytesIO(text.encode()))


def read_archive(path: Path, folder: Path) -> tuple[Manifest, Path, str | None]:
    """Manifest, dump and key, every byte checked; the dump is unpacked into `folder`. Raises BackupError."""
    try:
        with tarfile.open(path, mode="r:") as tar:
            names = [name for name in (MANIFEST, DUMP, KEY) if name in tar.getnames()]
            tar.extractall(folder, members=[tar.getmember(name) for name in names], filter="data")
        manifest = Manifest(**json.loads((folder / MANIFEST).read_text()))
    except FileNotFoundError as error:
        raise BackupError(f"{error.filename} does not exist.") from None
    except (OSError, tarfile.TarError, ValueError, TypeError) as error:
        raise BackupError(f"{path} is not a backup of Stackweb, or is damaged: {error}.") from None
    if manifest.format != FORMAT:
        raise BackupError(f"{path} has format {manifest.format}; this version of Stackweb reads {FORMAT}.")
    dump, key = folder / DUMP, folder / KEY
    if not dump.exists() or sha256_of(dump) != manifest.dump_sha256:
        raise BackupError(f"{path} is damaged: the database in it is not the one that was written.")
    return manifest, dump, key.read_text() if key.exists() else None
