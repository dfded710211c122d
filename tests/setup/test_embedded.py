"""The embedded servers: real ones, in a folder nobody else may enter."""

import os
import stat
import subprocess
from pathlib import Path

import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from stackweb.embedded import identity, running
from stackweb.embedded.identity import NAMESPACE, OTHER_USER, Identity
from stackweb.embedded.ports import HeldPort, is_free
from stackweb.embedded.postgres import FAST_AND_UNSAFE, Postgres
from stackweb.embedded.valkey import Valkey

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root needs another identity")


@pytest.fixture
def closed_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o700)
    return folder


def start_postgres(folder: Path) -> tuple[Postgres, subprocess.Popen[bytes]]:
    held = HeldPort()
    try:
        server = Postgres(folder / "postgres", held.port, "s p/a:c@e", FAST_AND_UNSAFE)
        process = running.start(server, folder / "log")
        running.wait_until_ready(server, process, folder / "log")
    finally:
        held.release()
    return server, process


@AS_ROOT
@pytest.mark.parametrize("forced", [NAMESPACE, OTHER_USER], ids=["namespace", "other uid"])
def test_root_runs_postgres_below_a_closed_folder(
    closed_folder: Path, forced: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "NAMESPACE", forced)
    server, process = start_postgres(closed_folder)
    try:
        assert server.identity == forced
        assert server.data.stat().st_uid == forced.owner_uid
        assert stat.S_IMODE(closed_folder.stat().st_mode) == 0o700
    finally:
        running.stop(server, process)
    assert is_free(server.port)


@AS_ROOT
def test_data_survives_a_change_of_identity(closed_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server, process = start_postgres(closed_folder)
    with psycopg.connect(server.url) as connection:
        connection.execute("create table kept as select 42 as answer")
    running.stop(server, process)
    monkeypatch.setattr(identity, "NAMESPACE", OTHER_USER)
    server, process = start_postgres(closed_folder)
    try:
        with psycopg.connect(server.url) as connection:
            assert connection.execute("select answer from kept").fetchone() == (42,)
    finally:
        running.stop(server, process)


def test_postgres_says_why_it_does_not_start(closed_folder: Path) -> None:
    with HeldPort() as held:
        held.listen()
        server = Postgres(closed_folder / "postgres", held.port, "secret", FAST_AND_UNSAFE)
        process = running.start(server, closed_folder / "log")
        with pytest.raises(identity.EmbeddedError, match="Address already in use"):
            running.wait_until_ready(server, process, closed_folder / "log")


def test_valkey_keeps_data_and_other_users_over_kill_9(closed_folder: Path) -> None:
    held = HeldPort()
    server = Valkey(closed_folder / "valkey", held.port, "secret")
    process = running.start(server, closed_folder / "log")
    running.wait_until_ready(server, process, closed_folder / "log")
    with redis.Redis.from_url(server.url) as client:
        client.set("kept", "yes")
        client.execute_command("ACL", "SETUSER", "gpu", "on", ">other", "~gpu:*", "+@all")
        client.execute_command("ACL", "SAVE")
    process.kill()
    process.wait()
    process = running.start(server, closed_folder / "log")
    running.wait_until_ready(server, process, closed_folder / "log")
    try:
        with redis.Redis.from_url(server.url) as client:
            assert client.get("kept") == b"yes"
            assert "gpu" in client.acl_users()
        with (
            redis.Redis(port=server.port, retry=Retry(NoBackoff(), 0)) as stranger,
            pytest.raises(redis.AuthenticationError),
        ):
            stranger.ping()
    finally:
        running.stop(server, process)
        held.release()
