"""A job is prepared on one host and is not bound to it: when that host takes no work, another one gets it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from apps.accounts.models import Team, User
from apps.accounts.problems import Problem
from apps.engines.base import ModelRef, RunSpec
from apps.fleet.models import EngineEnvironment, Host
from apps.fleet.operations import cordon_host, uncordon_host
from apps.jobs.host_operations import drain_host, fence_host, host_leaves, remove_host
from apps.jobs.models import Job
from apps.jobs.scheduling import place_waiting_jobs
from apps.jobs.services import cancel_job, retry_job, submit_job
from tests.factories import make_host, make_stored_version, make_team, make_user
from tests.jobs.conftest import Worker

SPEC = RunSpec(kind="serve", engine="vllm", served_name="m", model=ModelRef(name="m", path="/m"))


@pytest.fixture
def admin(team: Team) -> User:
    return make_user("admin", team=team, is_superuser=True)


@pytest.fixture
def job(team: Team, alice: User, worker: Worker) -> Job:
    """It waits for an installation on atlas, the only host."""
    job = submit_job(team=team, user=alice, kind="serve", name="serve m", spec=SPEC)
    place_waiting_jobs()
    job.refresh_from_db()
    assert (job.pinned_host, job.prepared_on) == (None, worker.host)
    return job


def install_on(name: str) -> Job:
    return Job.objects.get(kind="install", pinned_host__name=name)


def quiet(host: Host) -> None:
    Host.objects.filter(pk=host.pk).update(last_seen_at=timezone.now() - timedelta(minutes=5))


def block(how: str, host: Host, admin: User) -> None:
    match how:
        case "fenced":
            fence_host(host=host, user=admin, confirm=host.name, force=True)
        case "left":
            host_leaves(host=host)
        case "cordoned":
            cordon_host(host=host, user=admin, reason="new disk")
        case "draining":
            drain_host(host=host, user=admin)
        case "silent":
            quiet(host)


def test_one_persons_cancel_of_a_shared_install_fails_nobody(job: Job, alice: User) -> None:
    other_team = make_team()
    carol = make_user(team=other_team)
    other = submit_job(team=other_team, user=carol, kind="serve", name="serve n", spec=SPEC)
    place_waiting_jobs()
    first = install_on("atlas")
    assert {each.after.get() for each in (job, other)} == {first}
    cancel_job(job=first, user=alice)
    place_waiting_jobs()
    for each in (job, other):
        each.refresh_from_db()
        second = each.after.get()
        assert (each.status, second.status, second == first) == ("queued", "queued", False)
        assert each.wait_reason == f"Waits for {second.public_id}: {second.name}"
        assert each.events.get(what="Prepared anew").detail == f"{first.public_id} ({first.name}) was cancelled."
    assert Job.objects.filter(kind="install").count() == 2


def test_what_a_person_asked_for_and_cancelled_fails_those_that_wait_for_it(
    job: Job, alice: User, team: Team, worker: Worker
) -> None:
    payload = {"engine": "vllm", "variant": "cpu"}
    spec = RunSpec(kind="install", engine="install", payload=payload)
    asked = submit_job(team=team, user=alice, kind="install", name="mine", spec=spec, pinned_host=worker.host)
    job.after.add(asked)
    cancel_job(job=asked, user=alice)
    place_waiting_jobs()
    job.refresh_from_db()
    assert (job.status, job.reason) == ("failed", "environment_failed")


HOWS = ["fenced", "left", "cordoned", "draining", "silent"]


@pytest.mark.parametrize("how", HOWS)
def test_a_job_whose_host_takes_no_work_is_prepared_on_another(job: Job, admin: User, worker: Worker, how: str) -> None:
    make_host("brio")
    block(how, worker.host, admin)
    place_waiting_jobs()
    job.refresh_from_db()
    assert job.prepared_on is not None
    assert job.prepared_on.name == "brio"
    assert list(job.after.all()) == [install_on("brio")]
    left = install_on("atlas")
    assert (left.status, left.reason) == ("cancelled", "not_needed")
    assert left.cause.startswith("atlas ")
    assert left.events.latest("pk").detail == left.cause


@pytest.mark.parametrize("how", HOWS)
def test_with_no_other_host_it_waits_and_a_host_that_comes_back_goes_on(
    job: Job, admin: User, worker: Worker, how: str
) -> None:
    block(how, worker.host, admin)
    place_waiting_jobs()
    job.refresh_from_db()
    assert (job.status, job.wait_reason) == ("queued", "No host takes work now.")
    before = install_on("atlas")
    Host.objects.update(
        last_seen_at=timezone.now(), fenced_at=None, left_at=None, cordoned=False, is_draining=False, cordon_reason=""
    )
    place_waiting_jobs()
    place_waiting_jobs()
    install = job.after.exclude(status="cancelled").get()
    assert (install.status, install.pinned_host) == ("starting", worker.host)
    assert (install == before) is (how not in ("fenced", "left"))


def test_an_installation_that_runs_goes_on_without_the_job(job: Job, admin: User, worker: Worker) -> None:
    place_waiting_jobs()
    install = install_on("atlas")
    worker.claim(install.attempts.get())
    make_host("brio")
    quiet(worker.host)
    place_waiting_jobs()
    install.refresh_from_db()
    assert (install.status, list(install.followers.all())) == ("starting", [])
    assert list(job.after.all()) == [install_on("brio")]
    made = {"role": "environment", "path": "/environments/vllm", "format": "venv", "size_bytes": 0}
    worker.finish(install.attempts.get(), exit_code=0, result={"ok": True, "produced": [made]})
    install.refresh_from_db()
    assert install.status == "succeeded"


def test_an_installation_that_ran_on_a_fenced_host_is_not_run_again(job: Job, admin: User, worker: Worker) -> None:
    place_waiting_jobs()
    worker.claim(install_on("atlas").attempts.get())
    block("fenced", worker.host, admin)
    assert install_on("atlas").status == "cancelled"
    assert not job.after.exists()


def test_a_host_that_is_ready_does_not_keep_the_job_from_another(job: Job, admin: User, worker: Worker) -> None:
    """What was installed already is on atlas when it goes silent."""
    install = install_on("atlas")
    Job.objects.filter(pk=install.pk).update(status="succeeded", finished_at=timezone.now())
    brio = make_host("brio")
    EngineEnvironment.objects.create(host=brio, engine="vllm", variant="cpu", path="/configured")
    block("silent", worker.host, admin)
    place_waiting_jobs()
    assert job.attempts.get().host == brio


def test_the_prepared_host_comes_first_and_a_full_one_does_not_bind(job: Job, worker: Worker) -> None:
    install = install_on("atlas")
    Job.objects.filter(pk=install.pk).update(status="succeeded", finished_at=timezone.now())
    for host in (worker.host, make_host("aaa", ram_gib=8)):
        EngineEnvironment.objects.create(host=host, engine="vllm", variant="cpu", path="/configured")
    place_waiting_jobs()
    assert job.attempts.get().host == worker.host, "though aaa is the smaller one"


def test_what_another_job_or_a_person_wants_there_stays(
    job: Job, team: Team, alice: User, admin: User, worker: Worker
) -> None:
    twin = submit_job(team=team, user=alice, kind="serve", name="tied", spec=SPEC, pinned_host=worker.host)
    install = install_on("atlas")
    twin.after.add(install)
    Job.objects.filter(pk=twin.pk).update(prepared_on=worker.host)
    make_host("brio")
    block("cordoned", worker.host, admin)
    place_waiting_jobs()
    install.refresh_from_db()
    assert (install.status, list(install.followers.all())) == ("queued", [twin])
    twin.refresh_from_db()
    assert twin.wait_reason == "Host atlas is cordoned: new disk."
    uncordon_host(host=worker.host, user=admin)
    Job.objects.filter(pk=install.pk).update(created_by=alice)
    host_leaves(host=worker.host)
    install.refresh_from_db()
    assert install.status == "queued", "a person asked for it"


def test_a_retried_job_is_bound_to_nothing(job: Job, alice: User, admin: User, worker: Worker) -> None:
    cancel_job(job=job, user=alice)
    retry_job(job=Job.objects.get(pk=job.pk), user=alice)
    job.refresh_from_db()
    assert (job.prepared_on, list(job.after.all())) == (None, [])
    place_waiting_jobs()
    assert list(job.after.all()) == [install_on("atlas")], "the same one, for it goes there again"


def test_removing_a_host_withdraws_what_it_was_to_prepare(job: Job, admin: User, worker: Worker) -> None:
    Host.objects.filter(pk=worker.host.pk).update(last_seen_at=timezone.now() - timedelta(days=2))
    remove_host(host=worker.host, user=admin)
    job.refresh_from_db()
    assert (job.prepared_on, job.after.count(), install_on("atlas").status) == (None, 0, "cancelled")


def test_a_host_with_a_job_that_a_person_tied_to_it_is_not_removed(
    team: Team, alice: User, admin: User, worker: Worker
) -> None:
    submit_job(team=team, user=alice, kind="serve", name="tied", spec=SPEC, pinned_host=worker.host)
    Host.objects.filter(pk=worker.host.pk).update(last_seen_at=timezone.now() - timedelta(days=2))
    with pytest.raises(Problem, match="still belong to atlas"):
        remove_host(host=worker.host, user=admin)


def test_a_download_is_left_behind_like_an_installation(team: Team, alice: User, admin: User, worker: Worker) -> None:
    version = make_stored_version(team)
    spec: dict[str, Any] = {"kind": "serve", "engine": "fake-serve"}
    model = ModelRef(name="tiny", version_id=version.public_id)
    job = submit_job(team=team, user=alice, kind="serve", name="serve", spec=RunSpec(**spec, model=model))
    place_waiting_jobs()
    first = Job.objects.get(kind="download")
    assert list(job.after.all()) == [first]
    make_host("brio")
    block("silent", worker.host, admin)
    place_waiting_jobs()
    first.refresh_from_db()
    second = job.after.get()
    assert (first.status, second.pinned_host.name) == ("cancelled", "brio")
