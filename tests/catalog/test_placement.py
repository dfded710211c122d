"""Where a job's model lies, how it gets to another host, and what an adapter needs."""

from __future__ import annotations

import pytest

from apps.accounts.models import Team
from apps.catalog.models import LineageEdge, Location, Model, ModelVersion
from apps.catalog.placement import hosts_with_model, model_ref, prepare_model, resolve_model
from apps.catalog.registration import register_adapter_version
from apps.fleet.models import Host
from apps.jobs.kinds import CannotPrepare
from apps.jobs.models import Job
from tests.factories import make_adapter, make_host, make_job, make_produced, make_stored_version, make_team, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def team() -> Team:
    return make_team()


@pytest.fixture
def here() -> Host:
    return make_host("here")


@pytest.fixture
def there() -> Host:
    return make_host("there")


def job_for(version: ModelVersion) -> Job:
    spec = {"kind": "serve", "engine": "fake", "model": model_ref(version).model_dump()}
    return make_job(version.team, kind="serve", spec=spec)


def test_files_on_the_host_need_nothing_and_resolve_to_their_path(team: Team, here: Host) -> None:
    job = job_for(make_stored_version(team, host=here))
    assert prepare_model(job, here) == []
    spec = resolve_model(job, here)
    assert spec.model is not None
    assert (spec.model.path, spec.model.adapter_path) == ("/models/tiny", "")


def test_a_fetchable_model_is_brought_to_the_host_once(team: Team, here: Host, there: Host) -> None:
    version = make_stored_version(team, host=here)
    (download,) = prepare_model(job_for(version), there)
    assert (download.kind, download.pinned_host) == ("download", there)
    assert download.spec["payload"] == {"source": f"hub:lab/tiny@{version.revision}"}
    assert list(prepare_model(job_for(version), there)) == [download]
    Job.objects.filter(pk=download.pk).update(status="cancelled", finished_at=download.created_at)
    assert list(prepare_model(job_for(version), there)) != [download]


def test_an_adapter_brings_its_base_and_both_paths_resolve(team: Team, here: Host) -> None:
    base = make_stored_version(team)
    job = job_for(make_adapter(base, host=here))
    (download,) = prepare_model(job, here)
    assert download.model_import.version == base
    Location.objects.create(artifact=base.artifacts.get(), host=here, path="/models/base")
    assert prepare_model(job, here) == []
    spec = resolve_model(job, here)
    assert spec.model is not None
    assert (spec.model.path, spec.model.adapter_path) == ("/models/base", "/runs/tiny-tuned")


def test_an_adapter_on_another_host_is_refused_with_the_hosts_name(team: Team, here: Host, there: Host) -> None:
    base = make_stored_version(team, host=there)
    job = job_for(make_adapter(base, host=here))
    with pytest.raises(CannotPrepare, match="lie only on here and cannot be fetched to there"):
        prepare_model(job, there)


def test_a_folder_is_not_fetched_to_another_host(team: Team, here: Host, there: Host) -> None:
    version = make_stored_version(team, source="path", source_ref="/data/tiny", host=here)
    with pytest.raises(CannotPrepare, match="lie only on here"):
        prepare_model(job_for(version), there)


def test_hosts_with_every_file_are_preferred(team: Team, here: Host, there: Host) -> None:
    base = make_stored_version(team, host=here)
    adapter = make_adapter(base, host=there)
    assert hosts_with_model(job_for(base)) == ["here"]
    assert hosts_with_model(job_for(adapter)) == []
    Location.objects.create(artifact=base.artifacts.get(), host=there, path="/m")
    assert hosts_with_model(job_for(adapter)) == ["there"]


def test_a_file_that_left_the_host_is_not_resolved(team: Team, here: Host, there: Host) -> None:
    with pytest.raises(CannotPrepare, match="not on there"):
        resolve_model(job_for(make_stored_version(team, host=here)), there)


def test_a_version_that_is_gone_and_a_job_without_model(team: Team, here: Host) -> None:
    version = make_stored_version(team)
    job = job_for(version)
    version.model.delete()
    with pytest.raises(CannotPrepare, match="no longer in the catalogue"):
        prepare_model(job, here)
    assert prepare_model(make_job(team), here) == []


def register(base: ModelVersion, job: Job, host: Host, name: str = "support") -> ModelVersion:
    produced = make_produced("adapter", path=f"/runs/{job.pk}", content=str(job.pk))
    return register_adapter_version(
        base=base, name=name, team=base.team, user=None, job=job, host=host, produced=produced
    )


def test_a_trained_adapter_becomes_a_version_with_lineage_once(team: Team, here: Host) -> None:
    base, job = make_stored_version(team, host=here), make_job(team)
    version = register(base, job, here)
    assert register(base, job, here) == version
    assert (version.model.source, version.model.license, version.label) == ("fine_tune", "apache-2.0", "v1")
    edge = LineageEdge.objects.get()
    assert (edge.parent, edge.child, edge.relation, edge.job) == (base, version, "adapter", job)
    assert prepare_model(job_for(version), here) == []
    second = register(base, make_job(team), here)
    assert (second.model, second.label) == (version.model, "v2")


def test_a_training_is_not_lost_over_a_taken_name(team: Team, here: Host) -> None:
    base, job = make_stored_version(team, name="support", host=here), make_job(team)
    assert register(base, job, here).model.name == f"support-{job.public_id}"


def test_another_teams_models_are_not_visible(team: Team) -> None:
    version = make_stored_version(team)
    stranger = make_user("carol", team=make_team())
    assert not Model.objects.visible_to(stranger).exists()
    assert not ModelVersion.objects.visible_to(stranger).exists()
    assert list(Model.objects.visible_to(make_user("bob", team=team))) == [version.model]
