"""Who may copy a model from whom: what a copy's spec names, and what its ticket opens, where and for how long."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from apps.accounts.models import Team, User
from apps.accounts.problems import Problem
from apps.accounts.sealing import seal
from apps.accounts.tokens import HOST_TOKEN, new_token
from apps.catalog.copies import bring_copies, delete_copy, hosts_without, why_kept
from apps.catalog.models import Location, ModelVersion
from apps.catalog.peers import TICKET, download_secrets, givers
from apps.catalog.registration import register_download
from apps.engines.base import Result
from apps.fleet.models import Host, HostToken
from apps.jobs.models import Attempt, Job
from apps.jobs.scheduling import place_waiting_jobs
from tests.factories import make_host, make_job, make_produced, make_stored_version, make_team, make_user
from tests.jobs.conftest import Worker

pytestmark = pytest.mark.django_db
ADDRESS = "10.0.0.5:8460"


@pytest.fixture(autouse=True)
def kept_files(settings: Any, tmp_path: Path) -> None:
    settings.BLOB_DIR, settings.LOG_DIR = tmp_path / "blobs", tmp_path / "logs"


@pytest.fixture
def team() -> Team:
    return make_team("Lab")


@pytest.fixture
def alice(team: Team) -> User:
    return make_user("alice", team=team)


def host(name: str, **fields: Any) -> Worker:
    made, token = make_host(name, disk_free_bytes=10**12, **fields), new_token(HOST_TOKEN)
    HostToken.objects.create(host=made, digest=token.digest)
    return Worker(made, token.plain, Client())


@pytest.fixture
def atlas() -> Worker:
    return host("atlas", peer_address=ADDRESS)


@pytest.fixture
def brio() -> Worker:
    return host("brio")


@pytest.fixture
def version(team: Team, atlas: Worker) -> ModelVersion:
    return make_stored_version(team, host=atlas.host)


def bring(version: ModelVersion, worker: Worker, user: User) -> tuple[Job, dict[str, Any]]:
    """The copy's job and what its host was told at the claim."""
    (row,) = bring_copies(version=version, hosts=[worker.host], user=user)
    place_waiting_jobs()
    return row.job, worker.claim(row.job.attempts.get())


def shown(worker: Worker, ticket: str) -> Any:
    return worker.call("POST", "peer-files", {"ticket": ticket})


def test_a_copy_names_who_has_the_files_and_its_ticket_opens_them_there(
    version: ModelVersion, atlas: Worker, brio: Worker, alice: User
) -> None:
    job, claim = bring(version, brio, alice)
    artifact = version.artifacts.get()
    assert claim["spec"]["payload"]["peers"] == [{"host": "atlas", "address": ADDRESS}]
    assert claim["spec"]["payload"]["files"] == artifact.files
    ticket = claim["secrets"][TICKET]
    answer = shown(atlas, ticket)
    assert (answer.status_code, answer.json()) == (200, {"path": "/models/tiny", "files": ["model.safetensors"]})
    job.refresh_from_db()
    assert ticket not in json.dumps([claim["spec"], job.spec, job.preview])
    assert "peers" not in job.spec["payload"], "who has them now is asked at the claim"


def test_a_ticket_opens_nothing_elsewhere_nor_once_its_download_has_ended(
    version: ModelVersion, atlas: Worker, brio: Worker, alice: User, team: Team
) -> None:
    cinder = host("cinder", peer_address="10.0.0.7:8460")
    make_stored_version(team, name="other", host=cinder.host)
    job, claim = bring(version, brio, alice)
    ticket = claim["secrets"][TICKET]
    foreign = shown(cinder, ticket)
    assert (foreign.status_code, foreign.json()["detail"]) == (403, "The files of this ticket are not on cinder.")
    Location.objects.filter(host=atlas.host).delete()
    assert shown(atlas, ticket).status_code == 403, "a copy that was deleted is ready no more"
    Location.objects.create(artifact=version.artifacts.get(), host=atlas.host, path="/models/tiny")
    assert shown(atlas, ticket).status_code == 200
    Attempt.objects.filter(job=job).update(ended_at=timezone.now())
    ended = shown(atlas, ticket)
    assert (ended.status_code, "its download has ended" in ended.json()["detail"]) == (403, True)


def test_an_old_a_forged_and_a_stolen_secret_are_refused(
    version: ModelVersion, atlas: Worker, brio: Worker, alice: User
) -> None:
    job, claim = bring(version, brio, alice)
    now = timezone.now().timestamp()
    told = {"job": job.pk, "artifact": version.artifacts.get().pk, "until": now - 1}
    wrong = [seal(json.dumps(told)), seal("hf_a_hub_token"), seal("[1]"), seal('{"job": "x"}'), "", "x" * 1500]
    wrong += [claim["secrets"][TICKET][:-2] + "AA", json.dumps(told | {"until": now + 999})]
    for ticket in wrong:
        assert shown(atlas, ticket).status_code == 403, ticket
    assert shown(atlas, "x" * 3000).status_code == 422
    assert shown(atlas, seal(json.dumps(told | {"until": now + 999}))).status_code == 200
    without = Client().post("/api/worker/v1/peer-files", {"ticket": "x"}, content_type="application/json")
    assert without.status_code == 401


@pytest.mark.parametrize(
    "changes",
    [
        {"peer_address": ""}, {"left_at": timezone.now()}, {"fenced_at": timezone.now()},
        {"last_seen_at": timezone.now() - timedelta(hours=1)},
    ],
)  # fmt: skip
def test_a_host_that_does_not_serve_or_is_away_is_not_named(
    version: ModelVersion, atlas: Worker, brio: Worker, alice: User, changes: dict[str, Any]
) -> None:
    Host.objects.filter(pk=atlas.host.pk).update(**changes)
    _, claim = bring(version, brio, alice)
    assert claim["spec"]["payload"] == {"source": "hub:lab/tiny@0123456789ab"}


def test_a_copy_in_a_hugging_face_cache_is_not_named(version: ModelVersion) -> None:
    assert [each.host.name for each in givers(version.artifacts.get())] == ["atlas"]
    Location.objects.update(is_adopted=True)
    assert givers(version.artifacts.get()) == []


def test_another_teams_copy_of_the_same_repository_is_not_named(
    version: ModelVersion, atlas: Worker, brio: Worker
) -> None:
    cinder = host("cinder")
    other = make_team("Other")
    theirs = make_stored_version(other, host=cinder.host)
    _, claim = bring(theirs, brio, make_user("olga", team=other))
    assert "peers" not in claim["spec"]["payload"]
    assert shown(atlas, claim["secrets"][TICKET]).status_code == 403


def test_an_import_has_no_ticket(team: Team) -> None:
    assert download_secrets(make_job(team, kind="download")) == {}


def test_a_found_folder_is_brought_where_a_peer_gives_it_and_may_be_deleted_there_again(
    team: Team, atlas: Worker, brio: Worker, alice: User
) -> None:
    found = make_stored_version(team, name="nfs", host=atlas.host, source="path", source_ref="/models/tiny")
    Location.objects.update(is_adopted=True)
    assert hosts_without(found) == [brio.host]
    job, claim = bring(found, brio, alice)
    payload = claim["spec"]["payload"]
    assert (payload["source"], [each["host"] for each in payload["peers"]]) == ("path:/models/tiny", ["atlas"])
    produced = make_produced(path="/srv/models/nfs")
    result = Result(ok=True, produced=[produced], data={"came_from": "From atlas: 1 of 1 files."})
    ended = {"status": "succeeded", "finished_at": timezone.now(), "result": result.model_dump(mode="json")}
    Job.objects.filter(pk=job.pk).update(**ended)
    for _ in range(2):
        register_download(Job.objects.get(pk=job.pk))
    copy = Location.objects.get(host=brio.host)
    assert (copy.path, copy.is_adopted) == ("/srv/models/nfs", False)
    assert why_kept(brio.host, [copy]) == {copy.pk: ""}
    Location.objects.filter(host=atlas.host).delete()
    with pytest.raises(Problem, match="could not be fetched again"):
        delete_copy(copy=copy, user=alice)


def test_an_address_that_is_none_is_refused_with_the_field(atlas: Worker) -> None:
    inventory = {"cpu": {}, "ram_bytes": 1, "disk": {}, "peer_address": "http://10.0.0.5:8460/x"}
    wrong = atlas.call("POST", "inventory", inventory)
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "peer_address")
    assert atlas.call("POST", "inventory", inventory | {"peer_address": "[fd00::5]:8460"}).status_code == 200
    atlas.host.refresh_from_db()
    assert atlas.host.peer_address == "[fd00::5]:8460"
    assert atlas.call("POST", "inventory", inventory | {"peer_address": ""}).status_code == 200
    atlas.host.refresh_from_db()
    assert atlas.host.peer_address == ""


def test_the_jobs_page_says_where_the_bytes_came_from(client: Client, team: Team, alice: User) -> None:
    result = {"ok": True, "data": {"came_from": "From atlas: 3 of 3 files. From the Hub: none."}}
    job = make_job(team, kind="download", status="succeeded", result=result)
    client.force_login(alice)
    page = client.get(f"/jobs/{job.public_id}").text
    assert "From atlas: 3 of 3 files. From the Hub: none.</p>" in page
