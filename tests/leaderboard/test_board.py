"""Ranks, ties, headlines and refusals on data worked out by hand."""

from __future__ import annotations

import pytest
from pytest_django import DjangoAssertNumQueries

from apps.accounts.models import Team, User
from apps.accounts.problems import Problem
from apps.evals.comparison import compare_runs
from apps.evals.models import EvalRun, Suite
from apps.leaderboard.board import board
from apps.leaderboard.comparison import compare_versions, result_of
from tests.factories import make_eval_run, make_model_version, make_suite, make_team, make_user

pytestmark = pytest.mark.django_db
ITEMS = 16


@pytest.fixture
def team(db: None) -> Team:
    return make_team("Red")


@pytest.fixture
def alice(team: Team) -> User:
    return make_user("alice", team=team)


@pytest.fixture
def suite(db: None) -> Suite:
    return make_suite()


def run_of(team: Team, suite: Suite, name: str, right: int, **identity: object) -> EvalRun:
    """The first `right` of 16 items are right."""
    answers = {"colours": "1" * right + "0" * (ITEMS - right)}
    return make_eval_run(make_model_version(team, name), suite, answers, **identity)


def test_the_newest_run_of_a_version_counts(team: Team, alice: User, suite: Suite) -> None:
    old = run_of(team, suite, "a", 4)
    new = make_eval_run(old.version, suite, {"colours": "1" * ITEMS})
    shown = board(alice, suite)
    assert [(row.run.pk, row.mean.value) for row in shown.rows] == [(new.pk, 1.0)]
    assert shown.headline == "a is the only model measured on quiz"


def test_ties_share_a_rank_and_the_headline_says_so(team: Team, alice: User, suite: Suite) -> None:
    """16 against 11: 5 discordant items, p = 0.0625, a tie; 16 against 10: 6, p = 0.031, worse."""
    for name, right in (("third", 10), ("first", 16), ("second", 11)):
        run_of(team, suite, name, right)
    shown = board(alice, suite)
    ranks = [(row.version.model.name, row.rank_low, row.rank_high) for row in shown.rows]
    assert ranks == [("first", 1, 2), ("second", 1, 2), ("third", 3, 3)]
    assert shown.headline == "No difference shown between first and second on quiz"
    pair = shown.rows[2].against_first
    assert pair is not None
    assert (pair.word, pair.overall and pair.overall.p_value) == ("Worse", 0.03125)


def test_a_clear_lead_is_told_in_points(team: Team, alice: User, suite: Suite) -> None:
    run_of(team, suite, "first", 16)
    run_of(team, suite, "second", 8)
    assert board(alice, suite).headline == "first leads quiz by 50.0 points"


def test_scores_taken_otherwise_are_left_out_with_the_reason(team: Team, alice: User, suite: Suite) -> None:
    run_of(team, suite, "a", 12)
    run_of(team, suite, "b", 12)
    odd = run_of(team, suite, "odd", 16, engine_version="0.4.12")
    shown = board(alice, suite)
    assert {row.version.model.name for row in shown.rows} == {"a", "b"}
    (left,) = shown.left_out
    assert (left.run.pk, left.fields) == (odd.pk, ["engine_version"])
    assert left.why == "Other engine version (0.4.12 here, 0.4.13 there)."


def test_an_older_run_under_the_boards_conditions_goes_before_a_newer_one(
    team: Team, alice: User, suite: Suite
) -> None:
    run_of(team, suite, "a", 12)
    like = run_of(team, suite, "b", 10)
    make_eval_run(like.version, suite, {"colours": "1" * ITEMS}, engine_version="0.4.12")
    shown = board(alice, suite)
    assert {row.run.pk for row in shown.rows if row.version == like.version} == {like.pk}
    assert shown.left_out == []


def test_a_run_of_some_tasks_is_left_out(team: Team, alice: User) -> None:
    suite = make_suite("two", tasks=("a", "b"))
    make_eval_run(make_model_version(team), suite, {"a": "11", "b": "10"})
    make_eval_run(make_model_version(team, "part"), suite, {"a": "11"})
    shown = board(alice, suite)
    assert shown.rows[0].mean.value == 0.75
    assert [left.why for left in shown.left_out] == ["Did not run b."]


def test_foreign_rows_are_not_there(team: Team, alice: User, suite: Suite) -> None:
    run_of(make_team("Blue"), suite, "secret", 16)
    shown = board(alice, suite)
    assert (shown.rows, shown.left_out, shown.headline) == ([], [], "Nothing is measured on quiz yet")


def test_queries_do_not_grow_with_rows(
    team: Team, alice: User, suite: Suite, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(8):
        run_of(team, suite, f"m{number}", number + 4)
    with django_assert_max_num_queries(8):
        assert sum(row.size_bytes for row in board(alice, suite).rows) == 0


def test_two_runs_in_a_sentence(team: Team, suite: Suite) -> None:
    base, tuned = run_of(team, suite, "base", 10), run_of(team, suite, "tuned", 12)
    result = result_of(compare_runs(tuned, base))
    assert result.overall.verdict == "no difference shown"
    assert result.sentence.startswith("tuned against base on quiz: no difference shown (+12.5 points ±")
    assert result.sentence.endswith(", p = 0.500, 16 items).")


def test_runs_measured_otherwise_are_a_conflict_that_names_the_field(team: Team, suite: Suite) -> None:
    base, tuned = run_of(team, suite, "base", 10, num_fewshot=5), run_of(team, suite, "tuned", 12)
    with pytest.raises(Problem) as refused:
        result_of(compare_runs(tuned, base))
    assert refused.value.status == 409
    assert refused.value.extra["differs"] == [{"field": "num_fewshot", "a": "5", "b": "0"}]


def test_versions_meet_on_runs_under_the_same_conditions(team: Team, alice: User, suite: Suite) -> None:
    base, tuned = run_of(team, suite, "base", 10), run_of(team, suite, "tuned", 16)
    make_eval_run(base.version, suite, {"colours": "0" * ITEMS}, engine_version="0.4.12")
    (pair,) = compare_versions(alice, "quiz", base.version, [tuned.version])
    assert (pair.there.pk, pair.word) == (base.pk, "Better")
    assert compare_versions(alice, "quiz", make_model_version(team), [tuned.version]) == []
