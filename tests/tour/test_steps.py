"""The real steps on rows of the database: what each looks at, and how each ends."""

from __future__ import annotations

from typing import Any

import pytest

from apps.accounts.problems import Problem
from apps.catalog.models import ModelImport, ModelVersion
from apps.evals.models import EvalRun
from apps.fleet.models import Host
from apps.jobs.models import Job
from apps.serving.models import Endpoint
from apps.tour import steps
from apps.tour.asking import Answer
from apps.tour.models import TourRun
from apps.tour.services import start_tour
from apps.tour.steps import ENDPOINT_NAME, STEPS, StepFailed
from tests.factories import make_eval_run, make_host, make_stored_version, make_suite, make_team, make_user

pytestmark = pytest.mark.django_db
STEP = {step.key: step for step in STEPS}


@pytest.fixture
def host() -> Host:
    return make_host()


@pytest.fixture
def tour() -> TourRun:
    team = make_team()
    return start_tour(team=team, user=make_user(team=team))


@pytest.fixture
def base(tour: TourRun, host: Host) -> ModelVersion:
    """As the first step leaves it behind."""
    version = make_stored_version(tour.team, name="smollm2-135m-instruct", host=host)
    remember(tour, "import", version=version.pk)
    return version


def remember(tour: TourRun, key: str, **facts: Any) -> None:
    next(step for step in tour.steps if step["key"] == key)["facts"].update(facts)
    tour.save()


def end(job: Job, status: str = "succeeded", **fields: Any) -> None:
    Job.objects.filter(pk=job.pk).update(status=status, finished_at=job.created_at, **fields)


def test_import_starts_the_packages_download_and_waits_for_its_version(tour: TourRun, host: Host) -> None:
    facts = STEP["import"].start(tour)
    wish = ModelImport.objects.get()
    assert (wish.source, wish.job.public_id) == ("package", facts["job"])
    assert STEP["import"].look(tour, facts) is None
    end(wish.job, "failed", reason="disk_full", cause="No space left")
    with pytest.raises(StepFailed, match=r"The disk is full\. No space left"):
        STEP["import"].look(tour, facts)
    end(wish.job)
    with pytest.raises(StepFailed, match="no model version"):
        STEP["import"].look(tour, facts)
    version = make_stored_version(tour.team)
    ModelImport.objects.filter(pk=wish.pk).update(version=version)
    assert STEP["import"].look(tour, facts)["version"] == version.pk  # type: ignore[index]


def test_serve_makes_one_endpoint_and_starts_it_again_later(tour: TourRun, base: ModelVersion) -> None:
    facts = STEP["serve"].start(tour)
    endpoint = Endpoint.objects.get(name=ENDPOINT_NAME)
    job = endpoint.replicas.get().job
    assert STEP["serve"].look(tour, facts) is None
    Job.objects.filter(pk=job.pk).update(status="running")
    assert STEP["serve"].look(tour, facts) == {"detail": f"{ENDPOINT_NAME} is live"}
    assert STEP["serve"].start(tour) == facts, "an endpoint that runs is used as it is"
    end(job, "failed", reason="out_of_memory")
    with pytest.raises(StepFailed, match="Out of memory"):
        STEP["serve"].look(tour, facts)
    again = STEP["serve"].start(tour)
    assert (again["endpoint"], again["job"] == facts["job"]) == (endpoint.pk, False)
    Job.objects.filter(pk=int(again["job"].removeprefix("job-"))).update(status="held", reason="worker_lost")
    with pytest.raises(StepFailed, match="worker was lost"):
        STEP["serve"].look(tour, again)


def test_ask_passes_only_with_an_answer(tour: TourRun, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[Any] = [Answer("Paris.", 3, 0.4), Answer("  ", 1, 0.1), Problem(502, "No answer", "It is loading")]

    def ask(**asked: Any) -> Answer:
        assert asked["model"] == ENDPOINT_NAME
        if isinstance(answer := said.pop(0), Problem):
            raise answer
        return answer  # type: ignore[no-any-return]

    monkeypatch.setattr(steps, "ask_through_gateway", ask)
    assert "“Paris.” (3 tokens in 0.4 s)" in STEP["ask"].look(tour, {})["detail"]  # type: ignore[index]
    for why in ("no text", "It is loading"):
        with pytest.raises(StepFailed, match=why):
            STEP["ask"].look(tour, {})


def test_evaluate_wants_scores(tour: TourRun, base: ModelVersion) -> None:
    suite = make_suite("tour")
    facts = STEP["eval_base"].start(tour)
    run = EvalRun.objects.get()
    assert (run.version, run.suite) == (base, suite)
    assert STEP["eval_base"].look(tour, facts) is None
    end(run.job)
    with pytest.raises(StepFailed, match="without scores"):
        STEP["eval_base"].look(tour, facts)
    scored = make_eval_run(base, suite, {"colours": "1101"})
    assert STEP["eval_base"].look(tour, {"run": scored.pk}) == {"detail": "colours 75.0"}


@pytest.mark.parametrize(
    ("tuned", "word", "verdict"),
    [("10" * 20, "No difference shown", "no difference shown"), ("1" * 40, "Better", "better")],
)
def test_any_verdict_is_a_pass(tour: TourRun, base: ModelVersion, tuned: str, word: str, verdict: str) -> None:
    suite = make_suite("tour")
    first = make_eval_run(base, suite, {"colours": "10" * 20})
    second = make_eval_run(make_stored_version(tour.team, name="tuned"), suite, {"colours": tuned})
    remember(tour, "eval_base", run=first.pk)
    remember(tour, "eval_tuned", run=second.pk)
    facts = STEP["compare"].look(tour, {})
    assert facts is not None
    assert facts["detail"].startswith(word)
    assert facts["detail"].endswith("over 40 items")
    assert (facts["verdict"], facts["runs"]) == (verdict, [first.public_id, second.public_id])


def test_runs_that_cannot_be_compared_are_no_pass(tour: TourRun, base: ModelVersion) -> None:
    suite = make_suite("tour")
    first = make_eval_run(base, suite, {"colours": "1010"})
    other = make_eval_run(base, suite, {"colours": "1010"}, engine_version="0.0.1")
    remember(tour, "eval_base", run=first.pk)
    remember(tour, "eval_tuned", run=other.pk)
    with pytest.raises(StepFailed, match=r"\w"):
        STEP["compare"].look(tour, {})
