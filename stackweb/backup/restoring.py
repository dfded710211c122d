"""`stackweb restore`: into a database beside the present one, checked, and only then put in its place."""

from __future__ import annotations

import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from psycopg import sql

from stackweb.backup.archive import BackupError, Manifest, read_archive
from stackweb.backup.databases import alone, count_rows, name_in, tool, with_name
from stackweb.backup.making import KEY_VARIABLE, key_of, key_sha256
from stackweb.supervisor.home import Home, write_private
from stackweb.supervisor.web_side import manage

SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend'"


def restore_backup(home: Home, path: Path) -> list[str]:
    """Puts the backup in the database's place, which stays beside it under another name; lines for a person.

    Raises BackupError, UpError, EmbeddedError; then the database and the key are as before.
    """
    with alone(home) as url, tempfile.TemporaryDirectory(dir=home.path, prefix=".restore-") as folder:
        manifest, dump, key = read_archive(path, Path(folder))
        _check_key(home, manifest, key)
        new_key = _write_key(home, key)
        try:
            kept = _put_in_place(home, url, manifest, dump)
        except psycopg.Error as error:
            raise BackupError(f"The database refuses: {error}") from None
        if new_key:
            _use_key(home, new_key)
    return [
        f"The database is that of {manifest.made_at}: {sum(manifest.rows.values()):,} rows, all there.",
        f"The one of before is kept as {kept}; drop it once you need it no more.",
        "What hosts began since then is not ended. Start Stackweb, then adopt or end it under Hardware.",
    ]


def _check_key(home: Home, manifest: Manifest, key: str | None) -> None:
    """Raises BackupError where saved tokens could not be read under the key that will be used."""
    if key is not None and key_sha256(key) != manifest.key_sha256:
        raise BackupError("The key in the backup is damaged.")
    present = os.environ.get(KEY_VARIABLE) or (key if key is not None else key_of(home))
    if present is None or key_sha256(present) != manifest.key_sha256:
        raise BackupError(
            f"The backup's tokens are sealed under another key. Set {KEY_VARIABLE} to the one it was made under"
            + (", or unset it to use the key in the backup." if key is not None else ".")
        )


def _write_key(home: Home, key: str | None) -> Path | None:
    """The backup's key beside the present one, before anything is changed; None where that stays."""
    path = home.path / "secret-key"
    if key is None or KEY_VARIABLE in os.environ or (path.exists() and path.read_text() == key):
        return None
    fresh = path.with_name("secret-key.restored")
    try:
        write_private(fresh, key)
    except OSError as error:
        raise BackupError(f"{fresh} cannot be written: {error.strerror}.") from None
    return fresh


def _use_key(home: Home, fresh: Path) -> None:
    path = home.path / "secret-key"
    if path.exists():
        path.rename(path.with_name(f"secret-key.before-{datetime.now(UTC):%Y%m%d-%H%M%S}"))
    fresh.rename(path)


def _put_in_place(home: Home, url: str, manifest: Manifest, dump: Path) -> str:
    """The name under which the database of before is kept."""
    name, stamp = name_in(url), f"{datetime.now(UTC):%Y%m%d_%H%M%S}"
    fresh, kept = f"{name}_restoring_{stamp}", f"{name}_before_{stamp}"
    with psycopg.connect(with_name(url, "postgres"), autocommit=True, connect_timeout=10) as server:
        sessions = server.execute(SESSIONS, [name]).fetchone()
        if sessions is not None and sessions[0]:
            raise BackupError(f"{sessions[0]} connections to {name} are open. Stop everything that uses it first.")
        _run(server, "CREATE DATABASE {}", fresh)
        try:
            _fill(home, with_name(url, fresh), manifest, dump)
            with server.transaction():
                _run(server, "ALTER DATABASE {} RENAME TO {}", name, kept)
                _run(server, "ALTER DATABASE {} RENAME TO {}", fresh, name)
        except BaseException:
            _run(server, "DROP DATABASE IF EXISTS {} WITH (FORCE)", fresh)
            raise
    return kept


def _fill(home: Home, url: str, manifest: Manifest, dump: Path) -> None:
    arguments = ("--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction")
    tool("pg_restore", url, f"--dbname={name_in(url)}", *arguments, str(dump))
    with psycopg.connect(url) as connection:
        rows = count_rows(connection)
    if wrong := sorted(table for table in rows | manifest.rows if rows.get(table) != manifest.rows.get(table)):
        raise BackupError(
            f"Not all rows came back: {wrong[0]} has {rows.get(wrong[0])}, not {manifest.rows.get(wrong[0])}."
        )
    env = os.environ | {
        "STACKWEB_HOME": str(home.path), "DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "stackweb.settings"
    }  # fmt: skip
    manage(home, env, "migrate", "--noinput")
    manage(home, env, "mark_restored", manifest.made_at)


def _run(server: psycopg.Connection[tuple[object, ...]], statement: str, *names: str) -> None:
    """`statement` is one of this module's own."""
    server.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
