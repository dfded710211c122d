"""Copies on hosts: brought before they are needed, deleted when nothing uses them, and only what is ours."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.accounts.models import Role, Team, User
from apps.accounts.problems import Problem
from apps.catalog.copies import bring_copies, delete_copy, hosts_without
from apps.catalog.copy_uses import jobs_using, last_uses
from apps.catalog.deletions import resolve_deletion
from apps.catalog.models import Artifact, Location, ModelImport, ModelVersion
from apps.catalog.services import copy_version, import_model
from apps.dashboard.host_models import host_models
from apps.engines.folder import RECORD
from apps.engines.registry import get_engine
from apps.fleet.models import Host
from apps.jobs.models import Job
from apps.jobs.services import retry_job
from tests.catalog.hub_server import Hub
from tests.factories import (
    api_headers,
    make_adapter,
    make_attempt,
    make_endpoint,
    make_host,
    make_job,
    make_stored_version,
    make_team,
    make_user,
)
from tests.threads import Beside

pytestmark = pytest.mark.django_db
TB = 10**12


@pytest.fixture
def atlas() -> Host:
    return make_host("atlas", disk_free_bytes=TB, disk_total_bytes=2 * TB)


@pytest.fixture
def version(team: Team, atlas: Host) -> ModelVersion:
    return make_stored_version(team, host=atlas)


def copy_of(version: ModelVersion) -> Location:
    return Location.objects.get(artifact__version=version)


def use(version: ModelVersion, host: Host, **attempt: object) -> Job:
    spec = {"kind": "serve", "engine": "fake-serve", "model": {"name": "m", "version_id": version.public_id}}
    job = make_job(version.team, kind="serve", status="running", spec=spec)
    make_attempt(job, host, claimed_at=timezone.now(), **attempt)
    return job


def test_a_version_is_brought_to_hosts_that_lack_it_once(version: ModelVersion, alice: User, atlas: Host) -> None:
    brio, cinder = (make_host(name, disk_free_bytes=TB) for name in ("brio", "cinder"))
    assert hosts_without(version) == [brio, cinder]
    rows = bring_copies(version=version, hosts=[brio, cinder], user=alice)
    assert [row.job.pinned_host for row in rows] == [brio, cinder]
    again = bring_copies(version=version, hosts=[brio], user=alice)
    assert again == rows[:1]
    with pytest.raises(Problem, match="atlas has tiny@0123456789ab already"):
        bring_copies(version=version, hosts=[atlas], user=alice)


@pytest.mark.django_db(transaction=True)
def test_two_that_bring_it_to_one_host_at_once_start_one_copy(version: ModelVersion, alice: User) -> None:
    brio = make_host("brio", disk_free_bytes=TB)
    with transaction.atomic():
        first = copy_version(version=version, host=brio, user=alice)
        beside = Beside(lambda: copy_version(version=version, host=brio))
        beside.until_it_waits()
    assert beside.end() is None
    assert list(ModelImport.objects.filter(version=version)) == [first]


def test_an_adapter_is_brought_by_its_base(version: ModelVersion, alice: User, atlas: Host) -> None:
    adapter = make_adapter(version, host=atlas)
    brio = make_host("brio", disk_free_bytes=TB)
    (row,) = bring_copies(version=adapter, hosts=[brio], user=alice)
    assert row.version == version


def test_a_disk_without_room_is_refused_with_the_numbers(version: ModelVersion, alice: User) -> None:
    small = make_host("small", disk_free_bytes=10**9)
    with pytest.raises(Problem) as refused:
        bring_copies(version=version, hosts=[small], user=alice)
    assert "small needs 1.3 GB and has 1.0 GB free" in refused.value.detail
    assert not ModelImport.objects.exists()


def test_a_disk_that_other_downloads_will_fill_is_refused_and_they_are_named(
    version: ModelVersion, alice: User, team: Team
) -> None:
    small = make_host("small", disk_free_bytes=3 * 10**9)
    own = make_stored_version(team, name="own", host=make_host("elsewhere"))
    theirs = make_stored_version(make_team("Other"), name="theirs", host=make_host("there"))
    Artifact.objects.filter(version__in=[own, theirs]).update(size_bytes=10**9)
    copying = copy_version(version=own, host=small)
    Job.objects.filter(pk=copying.job_id).update(progress_done=1, progress_total=4, progress_unit="MB")
    anywhere = copy_version(version=theirs, host=make_host("wherever"))  # and placed on the small one
    Job.objects.filter(pk=anywhere.job_id).update(pinned_host=None)
    attempt = make_attempt(anywhere.job, small)
    with pytest.raises(Problem) as refused:
        bring_copies(version=version, hosts=[small], user=alice)
    assert refused.value.detail == (
        f"small needs 1.3 GB and has 3.0 GB free, of which {copying.job.public_id} (Copy own to small), "
        "1 other download will take 1.8 GB. Wait for that, or delete models there."
    )
    Host.objects.filter(pk=small.pk).update(disk_free_bytes=10**9)
    (again,) = bring_copies(version=own, hosts=[Host.objects.get(pk=small.pk)], user=alice)
    assert again == copying, "what is on its way needs no room again"
    attempt.ended_at = timezone.now()
    attempt.save()
    assert bring_copies(version=version, hosts=[small], user=alice), "three less what is left of the own one"


def test_an_import_under_way_takes_its_room_until_it_ends(version: ModelVersion, alice: User, team: Team) -> None:
    small = make_host("small", disk_free_bytes=3 * 10**9)
    job = make_job(team, kind="download", name="Import big", pinned_host=small)
    fields = {"source": "hub", "source_ref": "lab/big", "name": "big", "facts": {"size_bytes": 2 * 10**9}}
    ModelImport.objects.create(team=team, job=job, **fields)
    with pytest.raises(Problem, match=r"job-\d+ \(Import big\) will take 2\.0 GB"):
        bring_copies(version=version, hosts=[small], user=alice)
    Job.objects.filter(pk=job.pk).update(status="failed", finished_at=timezone.now())
    assert bring_copies(version=version, hosts=[small], user=alice)


def test_an_import_to_a_host_without_room_is_refused(hub: Hub, alice: User, team: Team) -> None:
    small = make_host("small", disk_free_bytes=5 * 10**8)
    with pytest.raises(Problem, match=r"small needs 1\.0 GB and has 0\.5 GB free") as refused:
        import_model(team=team, user=alice, source="hub", source_ref="tiny/model", host=small)
    assert (refused.value.errors[0].field, ModelImport.objects.exists()) == ("host", False)


def test_an_import_that_was_begun_there_or_is_whole_there_is_asked_for_again(hub: Hub, alice: User, team: Team) -> None:
    small = make_host("small")
    first = import_model(team=team, user=alice, source="hub", source_ref="tiny/model", host=small)
    Job.objects.filter(pk=first.job_id).update(status="failed", finished_at=timezone.now())
    Host.objects.filter(pk=small.pk).update(disk_free_bytes=0)
    small.refresh_from_db()
    second = import_model(team=team, user=alice, source="hub", source_ref="tiny/model", host=small)
    assert second != first
    Job.objects.update(status="succeeded", finished_at=timezone.now())  # and its copy was deleted since
    with pytest.raises(Problem, match=r"has 0\.0 GB free"):
        import_model(team=team, user=alice, source="hub", source_ref="tiny/model", host=small)
    theirs = make_stored_version(make_team("Other"), host=small, source="hub", source_ref="tiny/model")
    ModelVersion.objects.filter(pk=theirs.pk).update(revision=first.revision)
    ModelImport.objects.all().delete()
    assert import_model(team=team, user=alice, source="hub", source_ref="tiny/model", host=small)


def test_a_folder_that_was_found_is_brought_nowhere(team: Team, alice: User, atlas: Host) -> None:
    found = make_stored_version(team, name="nfs", host=atlas, source="path", source_ref="/nfs/nfs")
    with pytest.raises(Problem, match="nothing can fetch them elsewhere"):
        bring_copies(version=found, hosts=[make_host("brio", disk_free_bytes=TB)], user=alice)
    assert hosts_without(found) == []


def test_a_deleted_copy_is_off_the_books_at_once_and_a_job_deletes_its_bytes(
    version: ModelVersion, alice: User, atlas: Host
) -> None:
    job = delete_copy(copy=copy_of(version), user=alice)
    assert job is not None
    assert (job.pinned_host, job.spec["payload"]) == (atlas, {"folder": "/models/tiny"})
    assert not Location.objects.exists()
    assert job.preview["argv"][1:] == ["-m", "workers.deletions", "/models/tiny"]


def test_a_model_that_came_back_is_not_deleted_and_what_is_fetched_waits(
    version: ModelVersion, alice: User, atlas: Host
) -> None:
    artifact = copy_of(version).artifact
    deletion = delete_copy(copy=copy_of(version), user=alice)
    assert deletion is not None
    assert resolve_deletion(deletion, atlas).payload == {"folder": "/models/tiny"}
    fetch = copy_version(version=version, host=atlas)
    assert list(fetch.job.after.all()) == [deletion]
    Location.objects.create(artifact=artifact, host=atlas, path="/models/tiny")
    assert resolve_deletion(deletion, atlas).payload == {"folder": ""}
    Job.objects.filter(pk=deletion.pk).update(status="failed", finished_at=timezone.now())
    with pytest.raises(Problem, match="deletes a model"):
        retry_job(job=deletion, user=alice)


def test_files_that_another_team_has_in_the_same_folder_stay(version: ModelVersion, alice: User, atlas: Host) -> None:
    other = make_stored_version(make_team("Other"), host=atlas)
    assert copy_of(other).path == copy_of(version).path
    jobs = Job.objects.count()
    assert delete_copy(copy=copy_of(version), user=alice) is None
    assert (Job.objects.count(), Location.objects.count()) == (jobs, 1)


@pytest.mark.parametrize("mark", ["pinned_host", "prepared_on"])
def test_a_job_that_waits_for_that_host_keeps_it(version: ModelVersion, alice: User, atlas: Host, mark: str) -> None:
    spec = {"kind": "serve", "engine": "fake-serve", "model": {"name": "m", "version_id": version.public_id}}
    waiting = make_job(version.team, kind="serve", spec=spec, **{mark: atlas})
    with pytest.raises(Problem, match=waiting.public_id):
        delete_copy(copy=copy_of(version), user=alice)


def test_what_runs_with_it_keeps_it_also_through_an_adapter(version: ModelVersion, alice: User, atlas: Host) -> None:
    copy = copy_of(version)
    job = use(make_adapter(version, host=atlas), atlas)
    assert jobs_using(atlas, [copy]) == {copy.pk: [job]}
    with pytest.raises(Problem) as refused:
        delete_copy(copy=copy, user=alice)
    assert (refused.value.status, job.public_id in refused.value.detail) == (409, True)
    job.attempts.update(ended_at=timezone.now())
    use(version, make_host("elsewhere"))
    assert delete_copy(copy=copy, user=alice)


def test_what_is_not_ours_or_could_not_be_fetched_again_is_kept(
    team: Team, version: ModelVersion, alice: User, atlas: Host
) -> None:
    adapter = make_adapter(version, host=atlas)
    with pytest.raises(Problem, match="could not be fetched again"):
        delete_copy(copy=copy_of(adapter), user=alice)
    Location.objects.filter(artifact__version=version).update(is_adopted=True)
    with pytest.raises(Problem, match="was there before"):
        delete_copy(copy=copy_of(version), user=alice)
    viewer = make_user("vera", team=team, role=Role.VIEWER)
    with pytest.raises(Problem) as refused:
        delete_copy(copy=copy_of(version), user=viewer)
    assert refused.value.status == 403


def test_the_list_says_what_uses_a_copy_and_who_would_be_hurt(version: ModelVersion, alice: User, atlas: Host) -> None:
    make_endpoint(version.team, "chat", version=version, status="cancelled")
    use(version, atlas, ended_at=timezone.now())
    other = make_stored_version(make_team("Other"), name="theirs", host=atlas)
    (row,) = host_models(alice, atlas)["rows"]
    assert row.version == version
    assert row.last_used_at is not None
    assert row.consequence == (
        "0.3 GB are freed on atlas. chat would fetch it again at the next start. "
        "It is the only copy; it can be fetched again."
    )
    assert other.model.name == "theirs"


def test_last_use_is_also_one_through_an_adapter(version: ModelVersion, atlas: Host) -> None:
    copy = copy_of(version)
    assert last_uses(atlas, [copy]) == {}
    plain = use(version, atlas, ended_at=timezone.now(), created_at=timezone.now() - timedelta(days=2))
    assert last_uses(atlas, [copy]) == {copy.pk: plain.attempts.get().created_at}
    adapted = use(make_adapter(version, host=atlas), atlas, ended_at=timezone.now())
    assert last_uses(atlas, [copy]) == {copy.pk: adapted.attempts.get().created_at}


def test_twelve_copies_cost_as_many_queries_as_three(team: Team, alice: User, atlas: Host) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as asked:
            rows = host_models(alice, atlas)["rows"]
            assert all(row.consequence for row in rows)
        return len(asked)

    for number in range(3):
        use(make_stored_version(team, name=f"m{number}", host=atlas), atlas)
    few = queries()
    for number in range(3, 12):
        use(make_stored_version(team, name=f"m{number}", host=atlas), atlas)
    assert queries() == few


def test_pages_follow_each_other_in_either_order(
    team: Team, alice: User, atlas: Host, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apps.dashboard.host_models.PAGE_SIZE", 2)
    versions = [make_stored_version(team, name=f"m{number}", host=atlas) for number in range(5)]
    sizes = [30, 50, 10, 40, 20]
    for version, size in zip(versions, sizes, strict=True):
        version.artifacts.update(size_bytes=size)
    use(versions[0], atlas, ended_at=timezone.now())

    def names(sort: str) -> list[list[str]]:
        pages, cursor = [], ""
        while cursor is not None:
            page = host_models(alice, atlas, sort=sort, cursor=str(cursor))
            pages.append([row.version.model.name for row in page["rows"]])
            cursor = page["next"]
        return pages

    assert names("size") == [["m1", "m3"], ["m0", "m4"], ["m2"]]
    assert names("used") == [["m1", "m2"], ["m3", "m4"], ["m0"]]
    client.force_login(alice)
    first = client.get("/hardware/atlas/models?sort=size").text
    cursor = host_models(alice, atlas)["next"]
    assert (f"?sort=size&amp;cursor={cursor}" in first, "5 models on atlas" in first) == (True, True)
    assert "cursor=" not in client.get(f"/hardware/atlas/models?cursor={copy_of(versions[4]).pk}").text
    headers = api_headers(alice)
    listed = client.get("/api/v1/hosts/atlas/models?limit=3", headers=headers).json()
    rest = client.get(f"/api/v1/hosts/atlas/models?cursor={listed['next']}", headers=headers).json()
    assert [row["model"] for row in listed["items"] + rest["items"]] == ["m4", "m3", "m2", "m1", "m0"]
    assert rest["next"] is None


def test_page_and_rest(client: Client, version: ModelVersion, alice: User, atlas: Host) -> None:
    make_host("brio", disk_free_bytes=TB)
    client.force_login(alice)
    assert "Bring it there now" in client.get(f"/models/{version.model.public_id}").text
    address = f"/models/versions/{version.public_id}/copies"
    assert client.post(address, {"hosts": ["brio"]}, follow=True).status_code == 200
    assert ModelImport.objects.get().job.pinned_host.name == "brio"
    headers, sent = api_headers(alice), {"content_type": "application/json"}
    wrong = client.post(f"/api/v1{address}", {"hosts": ["brioo"]}, headers=headers, **sent)
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "hosts")
    assert client.post(f"/api/v1{address}", {"hosts": ["brio"]}, headers=headers, **sent).status_code == 201
    page = client.get("/hardware/atlas/models").text
    assert "Delete tiny@0123456789ab from atlas?" in page
    (listed,) = client.get("/api/v1/hosts/atlas/models", headers=headers).json()["items"]
    assert (listed["version"], listed["kept"]) == (version.public_id, "")
    assert client.delete(f"/api/v1/hosts/atlas/models/{listed['id']}", headers=headers).status_code == 202
    assert client.delete(f"/api/v1/hosts/atlas/models/{listed['id']}", headers=headers).status_code == 404
    assert "No model lies here" in client.get("/hardware/atlas/models").text


def run_deletion(folder: Path, models: Path) -> subprocess.CompletedProcess[str]:
    env = {"PATH": "/usr/bin:/bin", "STACKWEB_MODELS_DIR": str(models), "HOME": str(models)}
    argv = [sys.executable, "-m", "workers.deletions", str(folder)]
    return subprocess.run(argv, env=env, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])


def finished(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name in (RECORD, "model.safetensors"):
        (folder / name).write_text("{}")
    return folder


def test_a_host_deletes_a_finished_download_and_nothing_else(tmp_path: Path) -> None:
    models = tmp_path / "models"
    ours, kept = finished(models / "tiny"), finished(tmp_path / "outside")
    foreign = models / "foreign"
    foreign.mkdir()
    (foreign / "model.safetensors").touch()
    (models / "link").symlink_to(kept)
    nested = finished(models / "a" / "b")
    for folder in (foreign, models / "link", kept, nested, models, models / ".." / "outside", Path("/")):
        ran = run_deletion(folder, models)
        assert ran.returncode == 1, folder
        assert "is left alone" in ran.stdout, folder
    assert all(each.exists() for each in (ours, kept, foreign, nested))
    assert run_deletion(ours, models).returncode == 0
    assert not ours.exists()
    assert run_deletion(ours, models).returncode == 0, "one that is gone is no error"
    (finished(models / ".tiny.deleting") / "old").touch()
    assert run_deletion(finished(ours), models).returncode == 0, "one that was cut off holds up no other"
    assert not ours.exists()
    assert run_deletion(Path(), models).returncode == 1
    assert models.exists()
    assert get_engine("delete").read_line(ran.stdout.strip()) is not None
    assert not [path for path in models.iterdir() if path.name.endswith(".deleting")]
