"""When a job runs, asked on a page: the same three questions on every submission form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from apps.accounts.models import Team, User
from apps.finetunes.services import create_dataset
from apps.jobs.models import Job
from tests.factories import make_host, make_job, make_stored_version, make_suite, make_team, make_user
from tests.finetunes.conftest import lines, row

pytestmark = pytest.mark.django_db
KINDS = {"/evaluations/new": "evaluate", "/fine-tunes/new": "train", "/endpoints/new": "serve"}

MISTAKES = [
    ({"priority": "-1"}, "greater than or equal to 0"),
    ({"priority": "1001"}, "less than or equal to 1000"),
    ({"after": "999999"}, "Select a valid choice"),
]
MISTAKES_IN_TIME = [
    ({"time_limit_hours": "0"}, "greater than or equal to"),
    ({"stall_minutes": "soon"}, "Enter a number"),
]


def mistakes_on(page: str) -> list[tuple[dict[str, str], str]]:
    """A server has no limits of time."""
    return MISTAKES if KINDS[page] == "serve" else MISTAKES + MISTAKES_IN_TIME


@pytest.fixture
def team(client: Client) -> Team:
    team = make_team("Lab")
    client.force_login(make_user("alice", team=team))
    return team


@pytest.fixture
def sent(team: Team, settings: Any, tmp_path: Path) -> dict[str, dict[str, Any]]:
    """A filled form by its page."""
    settings.BLOB_DIR = tmp_path / "blobs"
    version = make_stored_version(team, host=make_host())
    dataset = create_dataset(team=team, user=User.objects.get(), name="greetings", data=lines(row(), row("Who?")))
    return {
        "/evaluations/new": {"version": version.pk, "suite": make_suite("quiz").pk, "option-dtype": "auto"},
        "/fine-tunes/new": {
            "base": version.pk,
            "dataset": dataset.pk,
            "name": "polite",
            "engine": "axolotl",
            "option-max_steps": "3",
        },
        "/endpoints/new": {"version": version.pk, "name": "chat", "engine": "vllm"},
    }


@pytest.mark.parametrize("page", KINDS)
def test_the_job_runs_as_asked(page: str, team: Team, sent: dict[str, dict[str, Any]], client: Client) -> None:
    first = make_job(team, kind="train", name="first")
    asked = {"priority": "7", "after": first.pk, "time_limit_hours": "1.5", "stall_minutes": "20", "spread": "on"}
    assert client.post(page, sent[page] | asked).status_code == 302
    job = Job.objects.exclude(pk=first.pk).get(kind=KINDS[page])
    assert (job.priority, list(job.after.all()), job.spread) == (7, [first], True)
    limits = (None, None) if KINDS[page] == "serve" else (5400, 1200)
    assert (job.time_limit_seconds, job.stall_seconds) == limits


@pytest.mark.parametrize("page", KINDS)
def test_left_alone_it_runs_as_usual(page: str, sent: dict[str, dict[str, Any]], client: Client) -> None:
    shown = client.get(page).content.decode()
    assert '<details class="panel-b"><summary class="link">When it runs' in shown
    assert client.post(page, sent[page]).status_code == 302
    job = Job.objects.get(kind=KINDS[page])
    assert (job.priority, job.after.count(), job.spread, job.time_limit_seconds) == (0, 0, False, None)


@pytest.mark.parametrize(
    ("page", "wrong", "words"), [(page, *mistake) for page in KINDS for mistake in mistakes_on(page)]
)
def test_a_wrong_answer_is_named_and_changes_nothing(
    page: str, wrong: dict[str, str], words: str, sent: dict[str, dict[str, Any]], client: Client
) -> None:
    answer = client.post(page, sent[page] | wrong)
    assert answer.status_code == 422
    shown = answer.content.decode()
    assert words in shown
    assert '<details class="panel-b" open>' in shown
    assert not Job.objects.exists()


def test_what_cannot_be_waited_for_is_not_offered(team: Team, sent: dict[str, dict[str, Any]], client: Client) -> None:
    for unfit in (
        make_job(team, kind="serve"),
        make_job(team, status="failed"),
        make_job(make_team("Other"), kind="train"),
    ):
        answer = client.post("/evaluations/new", sent["/evaluations/new"] | {"after": unfit.pk})
        assert answer.status_code == 422
        assert answer.context["terms"].errors["after"]
