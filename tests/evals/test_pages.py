"""Evaluation pages with real rows, for people of the team and for strangers."""

from __future__ import annotations

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from apps.accounts.models import Role, Team, User
from apps.evals.models import EvalRun, Suite
from apps.jobs.models import Job
from tests.factories import (
    make_adapter,
    make_eval_run,
    make_host,
    make_job,
    make_model_version,
    make_stored_version,
    make_suite,
    make_team,
    make_user,
)

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}


@pytest.fixture
def alice(team: Team, client: Client) -> User:
    user = make_user("alice", team=team)
    client.force_login(user)
    return user


@pytest.fixture
def pair(team: Team, alice: User) -> tuple[EvalRun, EvalRun]:
    """(base, its fine-tune): the fine-tune loses 6 of 8 items and wins none."""
    base = make_stored_version(team, name="base", note="from Q4_1 weights")
    suite = make_suite()
    there = make_eval_run(base, suite, {"colours": "11111110"})
    here = make_eval_run(make_adapter(base, name="tuned"), suite, {"colours": "00000010"})
    Job.objects.update(engine="lm-eval", spec={"kind": "evaluate", "engine": "lm-eval", "payload": {}})
    return there, here


def test_the_list_puts_regressions_first_and_says_where(pair: tuple[EvalRun, EvalRun], client: Client) -> None:
    base, tuned = pair
    make_eval_run(make_model_version(base.team, "other"), base.suite, {"colours": "1111"})
    page = client.get("/evaluations").content.decode()
    assert "tuned got worse on quiz" in page
    assert page.index(f'id="{tuned.public_id}"') < page.index(f'id="{base.public_id}"')
    assert "The loss is in colours: 87.5 to 12.5 on 8 items." in page
    assert 'id="other' not in client.get("/evaluations?show=worse").content.decode()
    assert client.get("/evaluations?show=nonsense&suite=none&cursor=x").status_code == 200


def test_the_list_takes_a_fixed_number_of_queries(
    pair: tuple[EvalRun, EvalRun], client: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(6):
        make_eval_run(make_adapter(pair[0].version, name=f"more{number}"), pair[0].suite, {"colours": "01010101"})
    Job.objects.update(engine="lm-eval")
    with django_assert_max_num_queries(40):
        assert client.get("/evaluations", headers=HTMX).status_code == 200


def test_the_run_page_compares_with_the_parent_and_shows_lost_items_first(
    pair: tuple[EvalRun, EvalRun], client: Client
) -> None:
    base, tuned = pair
    page = client.get(f"/evaluations/{tuned.public_id}").content.decode()
    assert "tuned loses to base on quiz by 75.0 points" in page
    assert "Wrong here, right there <em>6</em>" in page
    assert "colours question 0?" in page
    assert "colours question 6?" not in page
    assert "fp32" in page
    alone = client.get(f"/evaluations/{tuned.public_id}?against=none").content.decode()
    assert "Wrong <em>7</em>" in alone
    assert "loses to" not in alone
    won = client.get(f"/evaluations/{base.public_id}?against={tuned.public_id}&show=won").content.decode()
    assert "base beats tuned" in won


def test_a_run_under_other_conditions_is_not_compared_but_explained(
    pair: tuple[EvalRun, EvalRun], client: Client
) -> None:
    base, tuned = pair
    base.scores.update(engine_version="0.4.12")
    page = client.get(f"/evaluations/{tuned.public_id}").content.decode()
    assert "other engine version (0.4.13 here, 0.4.12 there)" in page
    assert "loses to" not in page


def test_a_sample_stands_beside_the_other_answer(pair: tuple[EvalRun, EvalRun], client: Client) -> None:
    base, tuned = pair
    first, second = tuned.samples.order_by("item")[:2]
    page = client.get(f"/evaluations/{tuned.public_id}/samples/{first.pk}").content.decode()
    assert "tuned loses 6 items that base gets right, and wins 0" in page
    assert "answer 0" in page
    assert "answer 1" in page
    assert f"/samples/{second.pk}?" in page
    assert client.get(f"/evaluations/{base.public_id}/samples/{first.pk}").status_code == 404


def test_text_of_a_model_is_never_markup(pair: tuple[EvalRun, EvalRun], client: Client) -> None:
    tuned = pair[1]
    sample = tuned.samples.get(item=0)
    sample.answer = sample.prompt = "<script>alert(1)</script>"
    sample.save()
    for address in (f"/evaluations/{tuned.public_id}", f"/evaluations/{tuned.public_id}/samples/{sample.pk}"):
        page = client.get(address).content.decode()
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert" in page


def test_the_live_part_ends_with_a_reload(pair: tuple[EvalRun, EvalRun], client: Client) -> None:
    ended = client.get(f"/evaluations/{pair[1].public_id}", headers=HTMX)
    assert (ended.status_code, ended["HX-Refresh"]) == (286, "true")
    Job.objects.filter(pk=pair[1].job_id).update(status="running", finished_at=None)
    assert client.get(f"/evaluations/{pair[1].public_id}", headers=HTMX).status_code == 200


def test_a_form_starts_a_run_and_names_wrong_fields(team: Team, alice: User, suite: Suite, client: Client) -> None:
    make_host()
    version = make_stored_version(team)
    shown = client.get(f"/evaluations/new?version={version.public_id}&suite=tour&batch_size=3").content.decode()
    assert 'value="3"' in shown
    assert "--apply_chat_template" in shown
    asked = {"version": version.pk, "suite": suite.pk, "limit": "", "option-batch_size": "4", "option-dtype": "auto"}
    assert "--batch_size 4" in client.post("/evaluations/preview", asked).content.decode()
    refused = client.post("/evaluations/new", asked | {"option-batch_size": "0"})
    assert refused.status_code == 422
    assert not EvalRun.objects.exists()
    made = client.post("/evaluations/new", asked)
    run = EvalRun.objects.get()
    assert made["Location"] == f"/evaluations/{run.public_id}"
    assert run.options["apply_chat_template"] is False  # an unticked box is a choice
    assert client.get(made["Location"]).status_code == 200


def test_empty_pages_say_what_to_do(alice: User, client: Client) -> None:
    assert "No evaluations yet" in client.get("/evaluations").content.decode()
    assert "No model to evaluate" in client.get("/evaluations/new").content.decode()


def test_strangers_and_viewers(pair: tuple[EvalRun, EvalRun], client: Client) -> None:
    tuned = pair[1]
    sample = tuned.samples.first()
    assert sample is not None
    client.force_login(make_user("carol", team=make_team("Blue")))
    assert client.get(f"/evaluations/{tuned.public_id}").status_code == 404
    assert client.get(f"/evaluations/{tuned.public_id}/samples/{sample.pk}").status_code == 404
    assert "tuned" not in client.get("/evaluations").content.decode()
    client.force_login(make_user("bob", team=tuned.team, role=Role.VIEWER))
    assert client.get(f"/evaluations/{tuned.public_id}").status_code == 200
    assert client.get("/evaluations/new").status_code == 403


def test_another_teams_run_is_no_baseline(pair: tuple[EvalRun, EvalRun], client: Client) -> None:
    base, tuned = pair
    base.team = make_team("Blue")
    base.save()
    page = client.get(f"/evaluations/{tuned.public_id}?against={base.public_id}").content.decode()
    assert "loses to" not in page


def test_a_run_that_waits_says_why(team: Team, alice: User, client: Client) -> None:
    run = make_eval_run(make_model_version(team), make_suite(), {"colours": "1"})
    waiting = make_job(team, wait_reason="No host has 3 GiB of RAM free.")
    Job.objects.filter(pk=waiting.pk).update(engine="lm-eval")
    run.scores.all().delete()
    run.job = waiting
    run.save()
    assert "No host has 3 GiB of RAM free." in client.get(f"/evaluations/{run.public_id}").content.decode()
