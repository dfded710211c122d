"""An evaluation or an endpoint of the model version that a fine-tune is still to make, over REST."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from apps.accounts.models import Team, User
from apps.catalog.models import ModelVersion
from apps.evals.models import EvalRun, Suite
from apps.finetunes.models import FineTune
from apps.finetunes.services import create_dataset
from apps.fleet.models import Host
from apps.jobs.models import Job
from apps.jobs.scheduling import place_waiting_jobs
from tests.factories import api_headers, make_job, make_produced, make_stored_version, make_suite, make_team, make_user
from tests.finetunes.conftest import lines, row
from tests.jobs.conftest import Worker

pytestmark = pytest.mark.usefixtures("redis_url")


@pytest.fixture
def suite(db: None) -> Suite:
    return make_suite()


@pytest.fixture
def base(team: Team, worker: Worker) -> ModelVersion:
    return make_stored_version(team, host=worker.host)


@pytest.fixture
def tune(team: Team, alice: User, base: ModelVersion) -> FineTune:
    create_dataset(team=team, user=alice, name="rows", data=lines(row()))
    body = {"name": "polite", "base": base.public_id, "dataset": "rows", "engine": "fake-train"}
    assert post(alice, "fine-tunes", body).status_code == 201
    return FineTune.objects.get()


def post(user: User, path: str, body: dict[str, Any], **headers: str) -> Any:
    return Client().post(f"/api/v1/{path}", body, content_type="application/json", headers=api_headers(user) | headers)


def evaluation(**fields: Any) -> dict[str, Any]:
    return {"suite": "quiz", "engine": "fake-eval"} | fields


def train(tune: FineTune, worker: Worker, **end: Any) -> None:
    place_waiting_jobs()
    attempt = tune.job.attempts.get(ended_at=None)
    worker.claim(attempt)
    worker.finish(attempt, **end)


def produced(host: Host) -> dict[str, Any]:
    return {"ok": True, "produced": [make_produced("adapter", path="/runs/polite").model_dump(mode="json")]}


def test_the_version_is_promised_and_then_made(alice: User, suite: Suite, tune: FineTune, worker: Worker) -> None:
    asked = post(alice, "eval-runs", evaluation(version={"from_job": tune.job.public_id}))
    assert asked.status_code == 201, asked.content
    run = EvalRun.objects.get()
    promised = run.version
    assert (promised.model.name, promised.label, promised.artifacts.count()) == ("polite", "v1", 0)
    assert list(run.job.after.all()) == [tune.job]
    train(tune, worker, exit_code=0, result=produced(worker.host))
    tune.refresh_from_db()
    assert (tune.output, promised.artifacts.count()) == (promised, 1)
    place_waiting_jobs()
    spec = worker.claim(run.job.attempts.get())["spec"]
    assert (spec["model"]["version_id"], spec["model"]["adapter_path"]) == (promised.public_id, "/runs/polite")


def test_the_promise_is_one_version_and_its_id_waits_too(alice: User, suite: Suite, tune: FineTune) -> None:
    first = post(alice, "eval-runs", evaluation(version={"from_job": tune.job.public_id})).json()
    again = post(alice, "eval-runs", evaluation(version=first["version"]))
    assert again.status_code == 201, again.content
    assert {run.version_id for run in EvalRun.objects.all()} == {EvalRun.objects.all()[0].version_id}
    assert all(list(run.job.after.all()) == [tune.job] for run in EvalRun.objects.all())


def test_an_endpoint_waits_for_its_model(alice: User, tune: FineTune, worker: Worker) -> None:
    body = {"version": {"from_job": tune.job.public_id}, "engine": "fake-serve", "name": "polite"}
    answer = post(alice, "endpoints", body)
    assert answer.status_code == 201, answer.content
    job = Job.objects.get(kind="serve")
    assert list(job.after.all()) == [tune.job]
    train(tune, worker, exit_code=1, reason="out_of_memory", cause="CUDA out of memory")
    place_waiting_jobs()
    job.refresh_from_db()
    assert (job.status, job.reason) == ("failed", "dependency_failed")
    assert "CUDA out of memory" in job.cause


def test_a_failed_fine_tune_run_again_keeps_its_promise(
    alice: User, suite: Suite, tune: FineTune, worker: Worker
) -> None:
    version = post(alice, "eval-runs", evaluation(version={"from_job": tune.job.public_id})).json()["version"]
    train(tune, worker, exit_code=1, reason="bad_config")
    refused = post(alice, "eval-runs", evaluation(version=version))
    assert refused.status_code == 422
    assert f"{tune.job.public_id} is failed" in refused.json()["detail"]
    assert post(alice, f"jobs/{tune.job.public_id}/retry", {}).status_code == 200
    train(tune, worker, exit_code=0, result=produced(worker.host))
    tune.refresh_from_db()
    assert tune.output is not None
    assert tune.output.public_id == version


def test_every_page_bears_a_version_without_files(alice: User, suite: Suite, tune: FineTune) -> None:
    promised = {"from_job": tune.job.public_id}
    run = post(alice, "eval-runs", evaluation(version=promised)).json()
    served = post(alice, "endpoints", {"version": promised, "engine": "fake-serve", "name": "polite"}).json()
    model = ModelVersion.objects.latest("pk").model
    client = Client()
    client.force_login(alice)
    pages = ["models", f"models/{model.public_id}", "fine-tunes", f"fine-tunes/{tune.public_id}", "leaderboard"]
    pages += ["evaluations", f"evaluations/{run['id']}", "endpoints", f"endpoints/{served['id']}", "jobs", ""]
    pages += [f"jobs/{run['job']['id']}", f"evaluations/new?version={run['version']}"]
    for page in pages:
        answer = client.get(f"/{page}")
        assert answer.status_code == 200, page
    shown = client.get(f"/api/v1/models/{model.public_id}", headers=api_headers(alice))
    assert shown.status_code == 200
    assert tune.job.public_id in client.get(f"/models/{model.public_id}").content.decode()


def test_a_job_that_makes_no_version_or_is_not_ours_is_refused(team: Team, alice: User, suite: Suite) -> None:
    for job in (make_job(team), make_job(make_team(), kind="train")):
        answer = post(alice, "eval-runs", evaluation(version={"from_job": job.public_id}))
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"] == "version.from_job"
    assert not EvalRun.objects.exists()


def test_a_refused_request_leaves_no_promise(alice: User, tune: FineTune) -> None:
    body = evaluation(version={"from_job": tune.job.public_id}, suite="nowhere")
    assert post(alice, "eval-runs", body).status_code == 422
    assert ModelVersion.objects.count() == 1


def test_terms_are_taken_and_bad_ones_refused_by_name(alice: User, suite: Suite, base: ModelVersion) -> None:
    first = post(alice, "eval-runs", evaluation(version=base.public_id)).json()["job"]["id"]
    body = evaluation(version=base.public_id, after=[first], priority=7, time_limit_seconds=3600, stall_seconds=900)
    made = post(alice, "eval-runs", body).json()["job"]["id"]
    job = Job.objects.get(pk=int(made.removeprefix("job-")))
    assert [each.public_id for each in job.after.all()] == [first]
    shown = Client().get(f"/api/v1/jobs/{made}", headers=api_headers(alice)).json()
    assert {name: shown[name] for name in ("after", "priority", "time_limit_seconds", "stall_seconds")} == {
        "after": [first], "priority": 7, "time_limit_seconds": 3600, "stall_seconds": 900,
    }  # fmt: skip
    for field, value in (("priority", -1), ("priority", 1001), ("time_limit_seconds", 5), ("stall_seconds", 5)):
        answer = post(alice, "eval-runs", evaluation(version=base.public_id, **{field: value}))
        assert (answer.status_code, answer.headers["Content-Type"]) == (422, "application/problem+json")
        assert answer.json()["errors"][0] == {
            "field": field, "message": answer.json()["detail"], "value": value,
        }  # fmt: skip
    assert Job.objects.filter(kind="evaluate").count() == 2


def test_another_teams_job_cannot_come_first(suite: Suite, base: ModelVersion, tune: FineTune) -> None:
    carol_team = make_team()
    carol = make_user("carol", team=carol_team)
    theirs = make_stored_version(carol_team, name="theirs")
    answer = post(carol, "eval-runs", evaluation(version=theirs.public_id, after=[tune.job.public_id]))
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "after.0")
