"""The tour's state machine on steps that the test holds in its hands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from django.test import Client

from apps.accounts.models import Role, Team, User
from apps.accounts.problems import Problem, invalid
from apps.engines.locks import lock_sha256
from apps.fleet.models import EngineEnvironment
from apps.jobs.models import Job
from apps.tour import services
from apps.tour.models import TourRun
from apps.tour.plan import ENVIRONMENTS, plan_tour
from apps.tour.services import advance_tours, start_tour
from apps.tour.steps import STEPS, Step, StepFailed
from tests.factories import api_headers, make_host, make_job, make_team, make_user

pytestmark = pytest.mark.django_db


@dataclass
class Work:
    """What the fake steps do next: their outcomes by key, and how often each was started."""

    outcomes: dict[str, Any] = field(default_factory=dict)
    started: list[str] = field(default_factory=list)

    def step(self, key: str) -> Step:
        return Step(key, f"Do {key}", lambda tour: self._start(key), lambda tour, facts: self._look(key))

    def _start(self, key: str) -> dict[str, Any]:
        self.started.append(key)
        if isinstance(error := self.outcomes.get(f"start {key}"), Exception):
            raise error
        return {"begun": key}

    def _look(self, key: str) -> dict[str, Any] | None:
        outcome: dict[str, Any] | Exception | None = self.outcomes.get(key)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    work = Work()
    monkeypatch.setattr(services, "STEPS", (work.step("first"), work.step("second")))
    return work


@pytest.fixture
def team() -> Team:
    return make_team()


@pytest.fixture
def alice(team: Team) -> User:
    return make_user("alice", team=team)


def looked(tour: TourRun) -> list[str]:
    """The steps' states after one more look."""
    advance_tours()
    tour.refresh_from_db()
    return [step["status"] for step in tour.steps]


def test_steps_go_one_after_another_and_the_last_ends_the_tour(work: Work, team: Team, alice: User) -> None:
    tour = start_tour(team=team, user=alice)
    assert looked(tour) == ["running", "waiting"]
    assert looked(tour) == ["running", "waiting"]
    work.outcomes["first"] = {"detail": "there"}
    assert looked(tour) == ["done", "waiting"]
    assert tour.steps[0]["facts"] == {"begun": "first", "detail": "there"}
    work.outcomes["second"] = {}
    assert looked(tour) == ["done", "done"], "a step that is done at once needs no second look"
    assert (tour.status, tour.finished_at is not None) == ("passed", True)
    assert looked(tour) == ["done", "done"]
    assert work.started == ["first", "second"]


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (StepFailed("Out of memory. Killed."), "Out of memory. Killed."),
        (invalid("name", "Taken."), "Taken."),
        (KeyError("gone"), "Stackweb failed here: 'gone'"),
    ],
)
@pytest.mark.parametrize("when", ["first", "start first"])
def test_a_failure_ends_the_tour_and_says_why(
    work: Work, team: Team, alice: User, client: Client, error: Exception, why: str, when: str
) -> None:
    tour = start_tour(team=team, user=alice)
    work.outcomes[when] = error
    assert looked(tour) == ["failed", "waiting"]
    assert (tour.status, tour.finished_at is not None) == ("failed", True)
    assert looked(tour) == ["failed", "waiting"]
    assert work.started == ["first"]
    shown = client.get(f"/api/v1/tours/{tour.public_id}", headers=api_headers(alice)).json()
    assert (shown["status"], shown["steps"][0]["detail"]) == ("failed", why)
    client.force_login(alice)
    assert "stopped at step 1" in client.get(f"/tour/{tour.public_id}").text


def test_one_tour_a_team_at_a_time(work: Work, team: Team, alice: User, client: Client) -> None:
    tour = start_tour(team=team, user=alice)
    second = client.post("/api/v1/tours", {}, "application/json", headers=api_headers(alice))
    assert (second.status_code, second.json()["tour"]) == (409, tour.public_id)
    client.force_login(alice)
    assert client.post("/tour").headers["Location"] == f"/tour/{tour.public_id}"
    bob = make_user("bob", team=make_team())
    assert client.post("/api/v1/tours", {}, "application/json", headers=api_headers(bob)).status_code == 201
    work.outcomes["first"] = StepFailed("No.")
    advance_tours()
    assert client.post("/tour").headers["Location"] != f"/tour/{tour.public_id}"
    with pytest.raises(Problem) as refused:
        start_tour(team=team, user=make_user(team=team, role=Role.VIEWER))
    assert refused.value.status == 403


def test_a_restart_goes_on_where_the_tour_was(work: Work, team: Team, alice: User, monkeypatch: Any) -> None:
    tour = start_tour(team=team, user=alice)
    work.outcomes["first"] = {"answer": 42}
    looked(tour)
    fresh = Work({"second": {}})  # another process: nothing but the database is left
    monkeypatch.setattr(services, "STEPS", (fresh.step("first"), fresh.step("second")))
    assert looked(tour) == ["done", "done"]
    assert fresh.started == ["second"]
    assert tour.steps[0]["facts"]["answer"] == 42


def test_killed_while_starting_nothing_is_remembered_half(
    work: Work, team: Team, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    tour = start_tour(team=team, user=alice)

    def start_and_die(tour: TourRun) -> dict[str, Any]:
        make_job(team, name="half made")
        raise SystemExit

    dying = Step("first", "Do first", start_and_die, lambda tour, facts: None)
    monkeypatch.setattr(services, "STEPS", (dying, work.step("second")))
    with pytest.raises(SystemExit):
        advance_tours()
    assert not Job.objects.filter(name="half made").exists()
    monkeypatch.setattr(services, "STEPS", (work.step("first"), work.step("second")))
    assert looked(tour) == ["running", "waiting"]


def test_pages_and_api_show_steps_with_their_jobs(work: Work, team: Team, alice: User, client: Client) -> None:
    client.force_login(alice)
    assert "Run the tour" in client.get("/tour").text
    tour = start_tour(team=team, user=alice)
    looked(tour)
    install = make_job(team, kind="install", name="Install vllm", progress_done=2, progress_total=5)
    job = make_job(team, kind="serve", name="Serve it")
    job.after.add(install)
    tour.steps[0]["facts"]["job"] = job.public_id
    tour.save()
    page = client.get(f"/tour/{tour.public_id}")
    assert "Step 1 of 2" in page.text
    assert f"/jobs/{install.public_id}" in page.text, "the job that holds the step up is the one to look at"
    shown = client.get(f"/api/v1/tours/{tour.public_id}", headers=api_headers(alice)).json()
    assert [step["status"] for step in shown["steps"]] == ["running", "waiting"]
    first = shown["steps"][0]
    assert (first["job"], first["detail"], first["progress"]) == (job.public_id, "Install vllm", 0.4)
    assert [each["id"] for each in client.get("/api/v1/tours", headers=api_headers(alice)).json()["items"]] == [
        tour.public_id
    ]
    assert client.get(f"/tour/{tour.public_id}", headers={"HX-Request": "true"}).status_code == 200
    TourRun.objects.filter(pk=tour.pk).update(status="failed", finished_at=tour.created_at)
    assert client.get(f"/tour/{tour.public_id}", headers={"HX-Request": "true"}).status_code == 286
    client.force_login(make_user("carol", team=make_team()))
    assert client.get(f"/tour/{tour.public_id}").status_code == 404


def test_the_plan_counts_what_is_not_installed() -> None:
    host = make_host()
    everything = plan_tour()
    assert everything.missing == list(ENVIRONMENTS)
    assert "with vLLM, lm-evaluation-harness and Axolotl to install first" in everything.sentence
    for name in ENVIRONMENTS:
        EngineEnvironment.objects.create(
            host=host, engine=name, variant="cpu", lock_sha256=lock_sha256(name, "cpu"), path=f"/env/{name}"
        )
    ready = plan_tour()
    assert ready.missing == []
    assert ready.disk_bytes < everything.disk_bytes / 5
    assert ready.minutes_high < everything.minutes_high


def test_the_real_steps_are_the_loop_in_order() -> None:
    assert [step.key for step in STEPS] == ["import", "serve", "ask", "eval_base", "train", "eval_tuned", "compare"]
