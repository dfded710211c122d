"""Paired verdicts on numbers worked out by hand."""

from __future__ import annotations

import pytest

from apps.accounts.models import Team
from apps.evals.comparison import compare_runs, mean_of_tasks, score_interval
from apps.evals.models import Score
from tests.factories import make_eval_run, make_model_version, make_suite

pytestmark = pytest.mark.django_db


def test_six_of_six_discordant_items_is_just_enough(team: Team) -> None:
    """Exact McNemar: 2 / 2**6 = 0.03125, below 0.05; five of five would be 0.0625."""
    suite, base, tuned = make_suite(), make_model_version(team), make_model_version(team)
    there = make_eval_run(base, suite, {"colours": "000000" + "1" * 10})
    here = make_eval_run(tuned, suite, {"colours": "1" * 16})
    result = compare_runs(here, there)
    assert result.overall is not None
    assert result.overall.p_value == 0.03125
    assert (result.word, result.overall.difference) == ("Better", 6 / 16)
    back = compare_runs(there, here)
    assert (back.word, back.worst and back.worst.task) == ("Worse", "colours")
    five = make_eval_run(tuned, suite, {"colours": "011111" + "1" * 10})
    narrow = compare_runs(five, there)
    assert narrow.overall is not None
    assert (narrow.word, narrow.overall.p_value) == ("No difference shown", 0.0625)


def test_pairs_go_by_item_not_by_order(team: Team) -> None:
    suite, version = make_suite(), make_model_version(team)
    here, there = (make_eval_run(version, suite, {"colours": values}) for values in ("1100", "1010"))
    for sample in there.samples.all():
        sample.item += 100
        sample.save()
    result = compare_runs(here, there).overall
    assert result is not None
    assert (result.n, result.candidate_ahead, result.baseline_ahead) == (4, 1, 1)


@pytest.mark.parametrize(
    ("identity", "words"),
    [
        ({"engine_version": "0.4.12"}, "other engine version (0.4.13 here, 0.4.12 there)"),
        ({"engine_options": {"seed": 7}}, "other engine options (seed not set here, seed 7 there)"),
        ({"suite_version": "quiz 2"}, "other suite version (quiz 1 here, quiz 2 there)"),
        ({"task_version": "2"}, "other task version (1 here, 2 there)"),
        ({"num_fewshot": 5}, "other few-shot examples (0 here, 5 there)"),
    ],
)
def test_scores_taken_otherwise_are_never_compared(team: Team, identity: dict[str, object], words: str) -> None:
    suite, version = make_suite(), make_model_version(team)
    here = make_eval_run(version, suite, {"colours": "1111"})
    there = make_eval_run(version, suite, {"colours": "0000"}, **identity)
    result = compare_runs(here, there)
    assert (result.overall, result.word) == (None, "")
    assert words in result.why_not
    assert [found.field for found in result.differs] == list(identity)


@pytest.mark.parametrize("own", [{"precision": "bf16"}, {"chat_template_sha256": "ab" * 32}])
def test_what_a_model_brings_itself_is_compared_not_refused(team: Team, own: dict[str, object]) -> None:
    suite, version = make_suite(), make_model_version(team)
    here = make_eval_run(version, suite, {"colours": "1111"})
    there = make_eval_run(version, suite, {"colours": "0000"}, **own)
    assert compare_runs(here, there).overall is not None


def test_a_run_of_some_tasks_is_not_compared_as_a_whole(team: Team) -> None:
    suite, version = make_suite(tasks=("colours", "sums")), make_model_version(team)
    here = make_eval_run(version, suite, {"colours": "1111", "sums": "1111"})
    there = make_eval_run(version, suite, {"colours": "0000"})
    result = compare_runs(here, there)
    assert result.why_not == "Not compared as a whole: only one of the two ran sums."
    assert result.tasks[0].result is not None


def test_runs_without_a_common_item_are_refused(team: Team) -> None:
    suite, version = make_suite(), make_model_version(team)
    here, there = (make_eval_run(version, suite, {"colours": "11"}) for _ in range(2))
    there.samples.update(item_sha256="other")
    assert compare_runs(here, there).why_not == "Not compared: the two runs share no item."


def test_intervals_stay_in_bounds_and_the_mean_adds_variances() -> None:
    whole = score_interval(Score(value=1.0, standard_error=0.0, item_count=50))
    assert (whole.value, whole.high) == (1.0, 1.0)
    assert whole.low == pytest.approx(0.92865, abs=1e-5)  # Wilson at 50 of 50
    halves = [Score(value=value, standard_error=0.05, item_count=50) for value in (0.4, 0.6)]
    mean = mean_of_tasks(halves)
    assert mean is not None
    assert mean.value == pytest.approx(0.5)
    assert (mean.high - mean.low) / 2 == pytest.approx(1.984 * 0.05 / 2**0.5, abs=2e-3)
    perplexity = score_interval(Score(value=12.0, standard_error=1.0, item_count=50))
    assert (perplexity.low, perplexity.high) == (10.04, 13.96)
