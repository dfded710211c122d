"""The fake engines are for tests: the product neither offers nor accepts them."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from apps.engines.registry import ENGINES, FAKES, get_engine
from apps.evals.models import EvalRun
from apps.finetunes.models import Dataset, FineTune
from apps.jobs.models import Job
from apps.serving.models import Endpoint
from tests.factories import (
    api_headers,
    make_eval_run,
    make_host,
    make_stored_version,
    make_suite,
    make_team,
    make_user,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def product(settings: Any) -> None:
    """As everybody but the tests runs it."""
    settings.FAKE_ENGINES = False


def test_every_engine_that_computes_nothing_is_known_as_fake() -> None:
    assert {name for name in ENGINES if get_engine(name).__module__.endswith(".fake")} == FAKES


def test_no_form_offers_a_fake_engine(product: None, client: Client) -> None:
    team = make_team()
    client.force_login(make_user(team=team))
    make_stored_version(team, host=make_host())
    Dataset.objects.create(team=team, name="rows", sha256="0" * 64, size_bytes=100, row_count=1)
    make_suite()
    for page in ("/endpoints/new", "/endpoints/new?engine=fake-serve", "/evaluations/new", "/fine-tunes/new"):
        answer = client.get(page)
        assert answer.status_code == 200
        assert "<form" in answer.text
        assert not [name for name in FAKES if name in answer.text], page
    made = client.post("/endpoints/new", {"engine": "fake-serve", "name": "x"})
    assert (made.status_code, Endpoint.objects.exists()) == (422, False)


def test_the_api_refuses_a_fake_engine_as_unknown(product: None, client: Client) -> None:
    team = make_team()
    headers = api_headers(make_user(team=team))
    version = make_stored_version(team, host=make_host()).public_id
    Dataset.objects.create(team=team, name="rows", sha256="0" * 64, size_bytes=100, row_count=1)
    make_suite()
    for path, body in (
        ("endpoints", {"version": version, "engine": "fake-serve"}),
        ("eval-runs", {"version": version, "suite": "quiz", "engine": "fake-eval"}),
        ("fine-tunes", {"name": "x", "base": version, "dataset": "rows", "engine": "fake-train"}),
    ):
        answer = client.post(f"/api/v1/{path}", body, "application/json", headers=headers)
        (error,) = answer.json()["errors"]
        assert (answer.status_code, error["field"], error["value"]) == (422, "engine", body["engine"])
        assert error.get("nearest") not in FAKES
        assert not [name for name in FAKES - {body["engine"]} if name in answer.text]
    assert [model.objects.count() for model in (Job, Endpoint, EvalRun, FineTune)] == [0, 0, 0, 0]


def test_a_fake_run_is_no_measurement(client: Client) -> None:
    team = make_team()
    headers = api_headers(make_user(team=team))
    suite = make_suite()
    measured = make_eval_run(make_stored_version(team, name="real"), suite, {"colours": "1101"})
    faked = make_eval_run(make_stored_version(team, name="sham"), suite, {"colours": "1111"})
    EvalRun.objects.filter(pk=faked.pk).update(engine="fake-eval")
    rows = client.get("/api/v1/leaderboard", headers=headers).json()["items"]
    assert [row["version"] for row in rows] == [measured.version.public_id]
