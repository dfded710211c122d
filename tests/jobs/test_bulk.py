"""One wish for many jobs, by REST and by the ticked rows of the page."""

from __future__ import annotations

import pytest
from django.contrib.messages import get_messages
from django.test import Client

from apps.accounts.models import Team, User
from apps.accounts.problems import Problem
from apps.jobs.bulk import MOST_JOBS, act_on_jobs
from apps.jobs.models import Job
from tests.factories import api_headers, make_job, make_team, make_user
from tests.jobs.conftest import Worker, start


def test_each_job_answers_for_itself(team: Team, alice: User, worker: Worker, client: Client) -> None:
    running, _ = start(team, alice, worker)
    queued, over = make_job(team), make_job(team, status="succeeded")
    hidden = make_job(make_team())
    ids = [running.public_id, queued.public_id, over.public_id, hidden.public_id, "ep-1", queued.public_id]
    wish = {"action": "cancel", "ids": ids}
    answer = client.post("/api/v1/jobs/bulk", wish, "application/json", headers=api_headers(alice)).json()
    assert answer["done"] == 2
    assert [(row["id"], row["ok"]) for row in answer["items"]] == [
        (running.public_id, True), (queued.public_id, True), (over.public_id, False), (hidden.public_id, False),
        ("ep-1", False),
    ]  # fmt: skip
    assert "is over (done); nothing to cancel" in answer["items"][2]["detail"]
    assert "There is no job" in answer["items"][3]["detail"]
    states = dict(Job.objects.values_list("pk", "status"))
    assert [states[job.pk] for job in (running, queued, over, hidden)] == [
        "cancelling", "cancelled", "succeeded", "queued",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("action", "count", "field"), [("stop", 1, "action"), ("cancel", 0, "ids"), ("retry", MOST_JOBS + 1, "ids")]
)
def test_what_cannot_be_asked(team: Team, alice: User, action: str, count: int, field: str) -> None:
    job = make_job(team)
    ids = [job.public_id] + [f"job-{10**9 + number}" for number in range(count - 1)] if count else []
    with pytest.raises(Problem) as refused:
        act_on_jobs(user=alice, action=action, ids=ids)
    assert (refused.value.status, refused.value.errors[0].field) == (422, field)
    job.refresh_from_db()
    assert job.status == "queued"


def test_a_viewer_is_refused(team: Team) -> None:
    job = make_job(team)
    (outcome,) = act_on_jobs(user=make_user("vera", team=team, role="viewer"), action="cancel", ids=[job.public_id])
    assert outcome.problem is not None
    assert outcome.problem.status == 403


def test_the_page_asks_before_it_cancels(team: Team, alice: User, client: Client) -> None:
    jobs = [make_job(team, name="first"), make_job(team, name="second")]
    over = make_job(team, status="succeeded")
    client.force_login(alice)
    form = {"action": "cancel", "job": [job.public_id for job in [*jobs, over]], "owner": "alice"}
    question = client.post("/jobs/bulk", form)
    assert "Cancel 3 jobs?" in question.text
    assert "it will refuse" in question.text
    assert not Job.objects.filter(status="cancelled").exists()
    answer = client.post("/jobs/bulk", form | {"confirmed": "yes"})
    assert (answer.status_code, answer["Location"]) == (302, "/jobs?owner=alice")
    assert Job.objects.filter(status="cancelled").count() == 2
    said = [str(message) for message in get_messages(answer.wsgi_request)]
    assert said[0] == "2 jobs asked to stop."
    assert said[1].startswith(f"1 of 3 refused. {over.public_id}: ")


def test_one_rows_own_button_touches_no_ticked_row(team: Team, alice: User, client: Client) -> None:
    broken, ticked = make_job(team, status="failed"), make_job(team, status="failed")
    client.force_login(alice)
    client.post("/jobs/bulk", {"job": [ticked.public_id], "only": f"retry {broken.public_id}"})
    assert dict(Job.objects.values_list("pk", "status")) == {broken.pk: "queued", ticked.pk: "failed"}


def test_nothing_ticked_is_said(team: Team, alice: User, client: Client) -> None:
    client.force_login(alice)
    answer = client.post("/jobs/bulk", {"action": "cancel"})
    assert answer["Location"] == "/jobs"
    assert "Choose 1 to 200 jobs" in str(next(iter(get_messages(answer.wsgi_request))))
