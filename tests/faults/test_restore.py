"""R8 and R23: backup, more work, restore of the older database. What runs is not ended; what is over is refused."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connection
from django.test import Client

from apps.accounts.sealing import seal, unseal
from apps.accounts.tokens import HOST_TOKEN, new_token
from apps.fleet import freeze
from apps.fleet.models import HostToken
from apps.fleet.querysets import reconcile_hold
from apps.jobs.models import Attempt, HeldAttempt, Job
from apps.jobs.reconciling import adopt_held
from stackweb.backup.archive import BackupError
from stackweb.backup.databases import count_rows, with_name
from stackweb.backup.making import make_backup
from stackweb.backup.restoring import restore_backup
from stackweb.supervisor.home import Home
from tests.factories import make_host, make_team, make_user
from tests.jobs.conftest import Worker, start

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


@pytest.fixture
def home(servers: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """The test database as an installation's own."""
    url = with_name(servers.given_database_url or servers.postgres.url, str(connection.settings_dict["NAME"]))
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setattr(freeze, "_STARTED", -1e9)
    home = Home(Path(os.environ["STACKWEB_HOME"]))
    yield home
    with psycopg.connect(with_name(url, "postgres"), autocommit=True) as server:
        for (name,) in server.execute("SELECT datname FROM pg_database WHERE datname LIKE '%\\_before\\_%'").fetchall():
            server.execute(f'DROP DATABASE "{name}"')  # type: ignore[arg-type]


def disconnect() -> None:
    connection.close()
    connection.close_pool()


def rows(home: Home) -> dict[str, int]:
    with psycopg.connect(os.environ["DATABASE_URL"]) as reading:
        return count_rows(reading)


def hashes() -> dict[str, str]:
    """Of what the tables of jobs hold."""
    query = "SELECT coalesce(md5(string_agg(row::text, '|' ORDER BY row::text)), '') FROM {} AS row"
    found = {}
    with psycopg.connect(os.environ["DATABASE_URL"]) as reading:
        for table in ("jobs_job", "jobs_attempt", "jobs_jobevent", "accounts_user", "fleet_host", "fleet_reservation"):
            found[table] = str((reading.execute(query.format(table)).fetchone() or ("",))[0])  # type: ignore[arg-type]
    return found


def worker_on(name: str) -> Worker:
    host, token = make_host(name), new_token(HOST_TOKEN)
    HostToken.objects.create(host=host, digest=token.digest)
    return Worker(host, token.plain, Client())


def beat(worker: Worker, attempt: Attempt, label: str) -> str:
    row = {"uuid": str(attempt.uuid), "epoch": attempt.epoch, "lease_token": attempt.lease_token, "job": label}
    (answer,) = worker.call("POST", "heartbeat", {"attempts": [row]}).json()["attempts"]
    return str(answer["answer"])


def test_the_older_database_kills_nothing_and_takes_nothing_stale(home: Home, tmp_path: Path) -> None:
    team, admin = make_team(), make_user("root", is_superuser=True)
    alice, worker = make_user("alice", team=team), worker_on("atlas")
    known, kept = start(team, alice, worker)
    again, stale = start(team, alice, worker)
    worker.finish(stale, reason="worker_lost")
    Job.objects.filter(pk=again.pk).update(status="queued", not_before=None)
    sealed = seal("hf_secret")
    path = tmp_path / "a.backup"
    said = "\n".join(make_backup(home, path))
    before, contents = rows(home), hashes()
    assert ("the key that saved tokens" in said, path.stat().st_mode & 0o777) == (True, 0o600)

    fresh = again.attempts.create(epoch=2, host=worker.host)  # more work, after the backup
    worker.claim(fresh)
    fresh.refresh_from_db()
    with pytest.raises(BackupError, match="are open"):
        restore_backup(home, path)
    disconnect()
    said = "\n".join(restore_backup(home, path))
    assert "all there" in said
    after = rows(home)
    marks = {"fleet_fleetalert", "accounts_auditevent"}  # the restore itself
    assert {name: count for name, count in after.items() if name not in marks} == {
        name: count for name, count in before.items() if name not in marks
    }
    assert {name: sha for name, sha in hashes().items() if name != "jobs_job"} == {
        name: sha for name, sha in contents.items() if name != "jobs_job"
    }
    assert unseal(sealed) == "hf_secret"

    assert reconcile_hold() is not None
    assert not Attempt.objects.filter(pk=fresh.pk).exists()
    assert beat(worker, kept, known.public_id) == "run"
    assert beat(worker, stale, again.public_id) == "gone", "it is known to be superseded"
    assert beat(worker, fresh, again.public_id) == "hold", "its engine would have been killed"
    lease = f"epoch={fresh.epoch}&lease_token={fresh.lease_token}"
    assert worker.call("POST", f"attempts/{fresh.uuid}/logs?offset=0&{lease}", b"line\n").status_code == 503
    adopt_held(attempt_uuid=HeldAttempt.objects.get().uuid, user=admin)
    assert beat(worker, fresh, again.public_id) == "run"


def test_a_damaged_or_foreign_backup_changes_nothing(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_team("Kept")
    path = tmp_path / "a.backup"
    make_backup(home, path)
    with pytest.raises(BackupError, match="replaces no file"):
        make_backup(home, path)
    disconnect()
    whole = path.read_bytes()
    middle = len(whole) // 2
    for wrong in (b"no tar at all", whole[:middle], whole[:middle] + b"XXXX" + whole[middle + 4 :]):
        (tmp_path / "wrong").write_bytes(wrong)
        with pytest.raises(BackupError):
            restore_backup(home, tmp_path / "wrong")
    with pytest.raises(BackupError, match="does not exist"):
        restore_backup(home, tmp_path / "none")
    monkeypatch.setenv("STACKWEB_SECRET_KEY", "another")
    with pytest.raises(BackupError, match="sealed under another key"):
        restore_backup(home, path)
    with tarfile.open(path) as tar:
        manifest = json.load(tar.extractfile("manifest.json") or [])  # type: ignore[arg-type]
    assert manifest["rows"]["accounts_team"] == rows(home)["accounts_team"]
    assert reconcile_hold() is None
