"""The database of an installation, for the time of a backup or a restore, and Postgres's own tools on it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import unquote, urlsplit

import psycopg
from psycopg import sql

from stackweb.backup.archive import BackupError
from stackweb.embedded import running
from stackweb.embedded.postgres import Postgres, binaries
from stackweb.supervisor.home import Home
from stackweb.supervisor.journal import Journal

TABLES = """
    SELECT relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE relkind = 'r' AND nspname = 'public' ORDER BY relname
"""


@contextmanager
def reachable(home: Home) -> Iterator[str]:
    """The address of the configured database, of the running Stackweb's, or of one started for this alone."""
    running_url = home.read_services().get("database_url") if home.is_locked() else None
    if url := os.environ.get("DATABASE_URL") or running_url:
        yield url
        return
    with alone(home) as url:
        yield url


@contextmanager
def alone(home: Home) -> Iterator[str]:
    """The database's address while nothing runs on the home. Raises UpError or BackupError where something does."""
    home.make()
    home.lock()
    try:
        if url := os.environ.get("DATABASE_URL"):
            yield url
        elif Journal(home.run).left_over():
            raise BackupError(
                "Parts of an earlier start still run. Start Stackweb once more and stop it, then try again."
            )
        else:
            with _embedded(home) as url:
                yield url
    finally:
        home.unlock()


@contextmanager
def _embedded(home: Home) -> Iterator[str]:
    postgres = Postgres(home.path / "postgres", home.port("postgres"), home.password("postgres"))
    log = home.logs / "postgres.log"
    process = running.start(postgres, log)
    try:
        running.wait_until_ready(postgres, process, log)
        yield postgres.url
    finally:
        running.stop(postgres, process)


def tool(name: str, url: str, *arguments: str) -> None:
    """Runs pg_dump or pg_restore; the password never stands in its arguments. Raises BackupError in its own words."""
    parts = urlsplit(url)
    env = os.environ | {
        "PGHOST": parts.hostname or "",
        "PGPORT": str(parts.port or 5432),
        "PGUSER": unquote(parts.username or ""),
        "PGPASSWORD": unquote(parts.password or ""),
        "PGDATABASE": name_in(url),
    }
    argv = [str(binaries() / name), "--no-password", *arguments]
    done = subprocess.run(argv, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"]
        raise BackupError(f"{name} failed: {lines[0]}")


def name_in(url: str) -> str:
    return urlsplit(url).path.lstrip("/") or "stackweb"


def with_name(url: str, name: str) -> str:
    return urlsplit(url)._replace(path=f"/{name}").geturl()


def count_rows(connection: psycopg.Connection[tuple[object, ...]]) -> dict[str, int]:
    """Rows of every table, by its name."""
    counts = {}
    for (table,) in connection.execute(TABLES).fetchall():
        found = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(str(table)))).fetchone()
        counts[str(table)] = int(str(found[0])) if found else 0
    return counts
