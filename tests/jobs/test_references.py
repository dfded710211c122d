"""A job that comes after others, and takes values from their results."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.accounts.models import Team, User
from apps.accounts.problems import Problem
from apps.jobs.models import Job
from apps.jobs.references import NoSuchResult, result_at, split_references
from apps.jobs.scheduling import place_waiting_jobs
from apps.jobs.schemas import TermsIn
from apps.jobs.services import cancel_job, retry_job
from apps.jobs.terms import asked_terms
from tests.factories import make_job, make_team, make_user
from tests.jobs.conftest import Worker, start, submit

pytestmark = pytest.mark.usefixtures("redis_url")
RESULT = {"ok": True, "data": {"final_loss": 0.5, "runs": [{"steps": 7}], "none": None}}


def test_a_reference_is_told_from_a_plain_option() -> None:
    one = {"from": "job-1", "path": "data.steps"}
    assert split_references({"steps": one, "name": "x"}) == ({"name": "x"}, {"options.steps": one})
    assert split_references({"lora": {"from": "job-1"}})[1] == {}


@pytest.mark.parametrize(("path", "value"), [("data.final_loss", 0.5), ("data.runs.0.steps", 7), ("ok", True)])
def test_a_path_finds_its_value(path: str, value: Any) -> None:
    assert result_at(RESULT, path) == value


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("data.loss", "has no data.loss; data holds final_loss, none, runs"),
        ("data.runs.1", "has no data.runs.1; data.runs is a list of 1"),
        ("data", "has no single value at data; data holds"),
        ("data.none", "has no single value at data.none; data.none is empty"),
        ("ok.x", "has no ok.x; ok is a single value"),
        ("", "has no ; its result holds data, ok"),
    ],
)
def test_a_wrong_path_says_what_is_there(path: str, says: str) -> None:
    with pytest.raises(NoSuchResult) as error:
        result_at(RESULT, path)
    assert says in str(error.value)


def following(team: Team, alice: User, first: Job, path: str) -> Job:
    asked, terms = asked_terms(alice, TermsIn(), {"steps": {"from": first.public_id, "path": path}})
    return submit(team, alice, options=asked, after=terms.after, references=terms.references)


def test_a_value_is_taken_when_the_other_is_done(team: Team, alice: User, worker: Worker) -> None:
    first, attempt = start(team, alice, worker)
    second = following(team, alice, first, "data.runs.0.steps")
    place_waiting_jobs()
    second.refresh_from_db()
    assert (second.status, second.wait_reason) == ("queued", f"Waits for {first.public_id}: {first.name}")
    assert f"options.steps from {first.public_id}" in second.events.get(what="Created").detail
    worker.finish(attempt, exit_code=0, result=RESULT)
    place_waiting_jobs()
    second.refresh_from_db()
    assert (second.status, second.spec["options"]["steps"]) == ("starting", 7)
    assert "7" in second.preview["argv"]
    assert worker.claim(second.attempts.get())["spec"]["options"]["steps"] == 7


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("data.loss", "(a train job) has no data.loss; data holds final_loss, none, runs."),
        ("data.final_loss", ", data.final_loss) is 0.5: Input should be a valid integer"),
    ],
)
def test_a_value_that_is_not_there_or_does_not_fit_fails_the_job(
    team: Team, alice: User, worker: Worker, path: str, says: str
) -> None:
    first, attempt = start(team, alice, worker)
    second = following(team, alice, first, path)
    worker.finish(attempt, exit_code=0, result=RESULT)
    place_waiting_jobs()
    second.refresh_from_db()
    assert (second.status, second.reason, second.attempts.count()) == ("failed", "dependency_failed", 0)
    assert says in second.cause
    assert first.public_id in second.cause


@pytest.mark.parametrize("end", ["fails", "is cancelled"])
def test_followers_fail_with_the_cause_down_the_line(team: Team, alice: User, worker: Worker, end: str) -> None:
    first, attempt = start(team, alice, worker)
    second = submit(team, alice, after=[first])
    third = submit(team, alice, after=[second])
    if end == "fails":
        worker.finish(attempt, exit_code=1, reason="bad_config", cause="No such option")
    else:
        cancel_job(job=first, user=alice)
        worker.finish(attempt, exit_code=-15)
    place_waiting_jobs()
    place_waiting_jobs()
    second.refresh_from_db()
    third.refresh_from_db()
    assert [(each.status, each.reason) for each in (second, third)] == [("failed", "dependency_failed")] * 2
    assert first.public_id in second.cause
    assert ("No such option" in second.cause) == (end == "fails")
    assert second.public_id in third.cause


def test_a_failed_follower_runs_again_once_the_first_has_succeeded(team: Team, alice: User, worker: Worker) -> None:
    first, attempt = start(team, alice, worker)
    second = following(team, alice, first, "data.runs.0.steps")
    worker.finish(attempt, exit_code=1, reason="bad_config")
    place_waiting_jobs()
    retry_job(job=first, user=alice)
    retry_job(job=second, user=alice)
    place_waiting_jobs()
    again = first.attempts.get(ended_at=None)
    worker.claim(again)
    worker.finish(again, exit_code=0, result=RESULT)
    place_waiting_jobs()
    second.refresh_from_db()
    assert (second.status, second.spec["options"]["steps"]) == ("starting", 7)


def test_what_can_never_come_first_is_refused_by_name(team: Team, alice: User) -> None:
    failed = make_job(team, kind="train", status="failed")
    server = make_job(team, kind="serve", status="running")
    stranger = make_job(make_team(), kind="train")
    for job, says in (
        (failed, "is failed. Run it again first"),
        (server, "serves until"),
        (stranger, "There is no job"),
    ):
        with pytest.raises(Problem, match=says) as refused:
            asked_terms(alice, TermsIn(after=[job.public_id]), {})
        assert (refused.value.status, refused.value.errors[0].field) == (422, "after.0")
        with pytest.raises(Problem, match=says) as refused:
            asked_terms(alice, TermsIn(), {"steps": {"from": job.public_id, "path": "ok"}})
        assert refused.value.errors[0].field == "options.steps"


def test_a_reference_for_an_option_that_is_not_there_names_the_nearest(team: Team, alice: User) -> None:
    first = make_job(team, kind="train")
    reference = {"from": first.public_id, "path": "ok"}
    with pytest.raises(Problem) as refused:
        submit(team, make_user(team=team), after=[first], references={"options.step": reference})
    assert (refused.value.errors[0].field, refused.value.errors[0].nearest) == ("options.step", "steps")


def test_a_place_in_a_list_with_more_digits_than_python_reads_is_not_there() -> None:
    with pytest.raises(NoSuchResult):
        result_at({"outputs": ["a"]}, "outputs." + "9" * 5000)


def test_too_many_jobs_to_wait_for_are_refused_before_any_is_looked_for(team: Team, alice: User) -> None:
    with CaptureQueriesContext(connection) as queries, pytest.raises(Problem, match="at most 50 others, not 1000"):
        asked_terms(alice, TermsIn(after=[f"job-{number}" for number in range(1000)]), {})
    assert len(queries) < 5
    first = make_job(team)
    assert asked_terms(alice, TermsIn(after=[first.public_id] * 1000), {})[1].after == [first]
