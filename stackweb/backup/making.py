"""`stackweb backup`: the database as of one moment, while Stackweb runs or not."""

from __future__ import annotations

import hashlib
import os
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psycopg

from stackweb.backup.archive import FORMAT, BackupError, Manifest, sha256_of, write_archive
from stackweb.backup.databases import count_rows, reachable, tool
from stackweb.supervisor.home import Home

KEY_VARIABLE = "STACKWEB_SECRET_KEY"


def key_of(home: Home) -> str | None:
    """The key that tokens are sealed under: from the environment, else kept in the home; None before a first start."""
    path = home.path / "secret-key"
    return os.environ.get(KEY_VARIABLE) or (path.read_text() if path.exists() else None)


def key_sha256(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def make_backup(home: Home, path: Path) -> list[str]:
    """Writes the file; what it holds, in lines for a person. Raises BackupError, UpError, EmbeddedError."""
    key = key_of(home)
    if key is None:
        raise BackupError(f"There is no installation in {home.path}: it has no secret-key. Set STACKWEB_HOME.")
    if path.exists() or not path.parent.is_dir():
        what = "exists already; a backup replaces no file" if path.exists() else "lies in a folder that does not exist"
        raise BackupError(f"{path} {what}.")
    is_own_key = KEY_VARIABLE not in os.environ
    with reachable(home) as url, tempfile.TemporaryDirectory(dir=path.parent, prefix=".backup-") as folder:
        dump = Path(folder) / "dump"
        made_at, rows = _dump(url, dump)
        manifest = Manifest(FORMAT, made_at, version("stackweb"), sha256_of(dump), key_sha256(key), rows)
        write_archive(path, manifest, dump, key if is_own_key else None)
    key_line = (
        "the key that saved tokens are sealed under: keep the file as safe as the server"
        if is_own_key
        else f"not the key: it is in {KEY_VARIABLE}, and without it saved tokens cannot be read again"
    )
    return [
        f"{path} holds:",
        f"  the database of {made_at}: {sum(rows.values()):,} rows in {len(rows)} tables, counted and hashed",
        f"  {key_line}",
        f"It does not hold the files in {home.path}: copy blobs/ and attempt-logs/ too, and host/ for its models.",
    ]


def _dump(url: str, dump: Path) -> tuple[str, dict[str, int]]:
    """When the snapshot was taken, and the rows in it; the dump is of the same snapshot."""
    try:
        with psycopg.connect(url, connect_timeout=10) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            snapshot = connection.execute("SELECT pg_export_snapshot()").fetchone()
            made_at = datetime.now(UTC).isoformat(timespec="seconds")
            tool("pg_dump", url, "--format=custom", f"--snapshot={snapshot[0] if snapshot else ''}", f"--file={dump}")
            return made_at, count_rows(connection)
    except psycopg.Error as error:
        raise BackupError(f"The database cannot be read: {error}") from None
