"""Several jobs at once over REST: all of them, or none."""

from __future__ import annotations

from typing import Any

import pytest

from apps.accounts.models import Role, Team, User
from apps.catalog.models import ModelVersion
from apps.evals.models import EvalRun
from apps.finetunes.models import FineTune
from apps.finetunes.services import create_dataset
from apps.jobs.models import Job
from apps.jobs.scheduling import place_waiting_jobs
from apps.serving.models import Endpoint
from tests.factories import make_produced, make_stored_version, make_suite, make_user
from tests.finetunes.conftest import lines, row
from tests.jobs.conftest import Worker
from tests.jobs.test_promises import post

pytestmark = pytest.mark.usefixtures("redis_url")


@pytest.fixture
def base(team: Team, alice: User, worker: Worker) -> ModelVersion:
    make_suite()
    create_dataset(team=team, user=alice, name="rows", data=lines(row()))
    return make_stored_version(team, host=worker.host)


def step(name: str, kind: str, body: dict[str, Any], *after: str) -> dict[str, Any]:
    return {"name": name, "kind": kind, "body": body, "after": list(after)}


def tune_step(base: ModelVersion, called: str = "tune", **body: Any) -> dict[str, Any]:
    return step(
        called, "train", {"name": "polite", "base": base.public_id, "dataset": "rows", "engine": "fake-train"} | body
    )


def loop(base: ModelVersion) -> list[dict[str, Any]]:
    """Out of order on purpose: what serves stands first."""
    return [
        step("serve", "serve", {"version": {"from_job": "tune"}, "engine": "fake-serve"}, "check"),
        step("check", "evaluate", {"version": {"from_job": "tune"}, "suite": "quiz", "engine": "fake-eval"}),
        tune_step(base),
    ]


def test_the_loop_is_one_request(alice: User, base: ModelVersion, worker: Worker) -> None:
    answer = post(alice, "pipelines", {"steps": loop(base)})
    assert answer.status_code == 201, answer.content
    steps = answer.json()["steps"]
    assert [each["name"] for each in steps] == ["serve", "check", "tune"]
    serve, check, tune = (Job.objects.get(pk=int(each["job"]["id"].removeprefix("job-"))) for each in steps)
    assert set(serve.after.all()) == {check, tune}
    assert list(check.after.all()) == [tune]
    assert EvalRun.objects.get().version == Endpoint.objects.get().version
    place_waiting_jobs()
    attempt = tune.attempts.get()
    worker.claim(attempt)
    made = make_produced("adapter", path="/runs/polite").model_dump(mode="json")
    worker.finish(attempt, exit_code=0, result={"ok": True, "produced": [made]})
    place_waiting_jobs()
    check.refresh_from_db()
    serve.refresh_from_db()
    assert (check.status, serve.status) == ("starting", "queued")
    assert serve.wait_reason.startswith(f"Waits for {check.public_id}")


def test_an_option_may_come_from_an_earlier_step(alice: User, base: ModelVersion) -> None:
    second = tune_step(base, "again", name="kind", options={"steps": {"from": "tune", "path": "data.steps"}})
    answer = post(alice, "pipelines", {"steps": [second, tune_step(base)]})
    assert answer.status_code == 201, answer.content
    again = FineTune.objects.get(name="kind").job
    first = FineTune.objects.get(name="polite").job
    assert list(again.after.all()) == [first]
    assert again.references == {"options.steps": {"from": first.public_id, "path": "data.steps"}}


def test_a_pipeline_sent_twice_is_one(alice: User, base: ModelVersion) -> None:
    first, again = (post(alice, "pipelines", {"steps": loop(base)}, **{"Idempotency-Key": "k"}) for _ in range(2))
    assert (first.status_code, first.json()) == (201, again.json())
    assert Job.objects.count() == 3


def body_of(version: str) -> dict[str, Any]:
    return {"version": version, "suite": "quiz", "engine": "fake-eval"}


@pytest.mark.parametrize(
    ("steps", "field", "says"),
    [
        ([], "steps", "1 to 50 steps, not 0"),
        (
            [step("a", "evaluate", body_of("mv-1"), "c"), step("b", "evaluate", body_of("mv-1"), "a"),
             step("c", "evaluate", body_of("mv-1"), "b")],
            "steps",
            "wait for each other: ",
        ),
        ([step("a", "evaluate", body_of("mv-1"), "a")], "steps", "a → a"),
        (
            [step("a", "evaluate", {"version": {"from_job": "b"}}), step("b", "train", {"options": {
                "x": {"from": "a", "path": "ok"}}})],
            "steps",
            "wait for each other: ",
        ),
        ([step("a", "evaluate", {}, "abb"), step("ab", "evaluate", {})], "steps.0.after.0", "Did you mean “ab”?"),
        ([step("a", "evaluat", {})], "steps.0.kind", "Did you mean “evaluate”?"),
        ([step("a", "install", {})], "steps.0.kind", "Known: evaluate, serve, train."),
        ([step("a", "evaluate", {}), step("a", "evaluate", {})], "steps.1.name", "Two steps are named “a”"),
        ([step("job-1", "evaluate", {})], "steps.0.name", "is no job's id"),
        ([step("A b", "evaluate", {})], "steps.0.name", "a to z"),
        (
            [step("s", "serve", {"version": "mv-1"}), step("e", "evaluate", body_of("mv-1"), "s")],
            "steps.1.after",
            "s serves until it is stopped",
        ),
    ],
)  # fmt: skip
def test_a_wrong_shape_is_refused_by_name(
    alice: User, base: ModelVersion, steps: list[Any], field: str, says: str
) -> None:
    answer = post(alice, "pipelines", {"steps": steps})
    assert (answer.status_code, answer.headers["Content-Type"]) == (422, "application/problem+json")
    error = answer.json()["errors"][0]
    assert error["field"] == field
    assert says in error["message"]
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"suite": "quizz"}, "steps.1.body.suite"),
        ({"suit": "quiz"}, "steps.1.body.suit"),
        ({"options": {"nope": 1}}, "steps.1.body.options.nope"),
        ({"after": ["job-999999"]}, "steps.1.body.after.0"),
        ({"after": "job-999999"}, "steps.1.body.after.0"),
        ({"priority": -1}, "steps.1.body.priority"),
        ({"team": "nowhere"}, "steps.1.body.team"),
    ],
)
def test_one_wrong_step_means_no_job_at_all(
    alice: User, base: ModelVersion, change: dict[str, Any], field: str
) -> None:
    check = step("check", "evaluate", body_of(base.public_id) | change, "tune")
    answer = post(alice, "pipelines", {"steps": [tune_step(base), check]})
    assert answer.status_code == 422, answer.content
    assert answer.json()["errors"][0]["field"] == field
    assert not Job.objects.exists()
    assert not FineTune.objects.exists()


def test_a_viewer_submits_nothing(team: Team, base: ModelVersion) -> None:
    bob = make_user("bob", team=team, role=Role.VIEWER)
    assert post(bob, "pipelines", {"steps": loop(base)}).status_code == 403
    assert not Job.objects.exists()
