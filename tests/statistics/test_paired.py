"""The paired verdict against published values, brute force, and its own promises over every small table."""

from __future__ import annotations

from itertools import product
from math import comb, isclose, sqrt
from random import Random
from statistics import fmean

import pytest

from apps.statistics.paired import (
    combine_tasks,
    compare_items,
    compare_scores,
    mcnemar_p,
    newcombe_interval,
)


def pairs(both: int, ahead: int, behind: int, neither: int) -> tuple[list[float], list[float]]:
    """Scores of candidate and baseline with these counts."""
    candidate = [1.0] * (both + ahead) + [0.0] * (behind + neither)
    baseline = [1.0] * both + [0.0] * ahead + [1.0] * behind + [0.0] * neither
    return candidate, baseline


def test_mcnemar_p_by_hand() -> None:
    # 6 of 22: (1 + 22 + 231 + 1540 + 7315 + 26334 + 74613) = 110056 ways of 2^22, both tails.
    assert mcnemar_p(6, 16) == 2 * 110056 / 2**22
    assert mcnemar_p(5, 0) == 0.0625  # five to nothing is not enough
    assert mcnemar_p(6, 0) == 0.03125
    assert mcnemar_p(0, 0) == mcnemar_p(4, 4) == 1.0
    assert 0 < mcnemar_p(5200, 5000) < 0.05  # large counts stay exact and do not overflow


def test_mcnemar_p_is_the_share_of_sign_flips_at_least_as_far_apart() -> None:
    for flips in range(1, 11):
        totals = [abs(2 * sum(heads) - flips) for heads in product((0, 1), repeat=flips)]
        for ahead in range(flips + 1):
            share = sum(total >= abs(2 * ahead - flips) for total in totals) / len(totals)
            assert isclose(mcnemar_p(ahead, flips - ahead), share)


@pytest.mark.parametrize(
    ("table", "low", "high"),
    # R. G. Newcombe, Statistics in Medicine 17 (1998) 2635-2650, method 10, n = 50.
    [
        ((36, 12, 2, 0), 0.0569, 0.3404),
        ((20, 12, 2, 16), 0.0562, 0.3292),
        ((36, 14, 0, 0), 0.1528, 0.4167),
        ((18, 14, 0, 18), 0.1441, 0.3963),
    ],
)
def test_difference_interval_agrees_with_newcombes_table(
    table: tuple[int, int, int, int], low: float, high: float
) -> None:
    got = newcombe_interval(*table, 0.95)
    assert (round(got[0], 4), round(got[1], 4)) == (low, high)


def test_verdict_p_and_interval_never_contradict() -> None:
    """Every table of up to 14 items: a verdict exactly when p < 0.05, and the interval on the same side."""
    for n in range(1, 15):
        for ahead in range(n + 1):
            for behind in range(n - ahead + 1):
                for both in range(n - ahead - behind + 1):
                    c = compare_scores(*pairs(both, ahead, behind, n - ahead - behind - both))
                    assert (c.verdict != "no difference shown") == (c.p_value < 0.05)
                    assert (c.low > 0) == (c.verdict == "better")
                    assert (c.high < 0) == (c.verdict == "worse")
                    assert -1 <= c.low <= c.difference <= c.high <= 1


def test_no_more_than_5_percent_false_verdicts() -> None:
    """Exact: with equal systems and a discordant share q, P(verdict) summed over all outcomes of 40 items."""
    n = 40
    for q in (0.05, 0.2, 0.5, 0.9):
        wrong = sum(
            comb(n, m) * q**m * (1 - q) ** (n - m) * comb(m, a) / 2**m
            for m in range(n + 1)
            for a in range(m + 1)
            if mcnemar_p(a, m - a) < 0.05
        )
        assert wrong <= 0.05


def test_student_sleep_data() -> None:
    """Student, Biometrika 6 (1908): mean 1.58 h, t = 4.0621 on 9 degrees, p = 0.00283, 0.70 to 2.46 h."""
    extra = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    plain = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    c = compare_scores(extra, plain, span=10)
    assert (c.verdict, c.method, c.candidate_ahead, c.baseline_ahead) == ("better", "t", 9, 0)
    assert (round(c.difference, 2), round(c.p_value, 5)) == (1.58, 0.00283)
    assert (round(c.low, 4), round(c.high, 4)) == (0.7001, 2.4599)


def test_swapping_the_two_mirrors_the_answer() -> None:
    random = Random(7)
    a, b = ([random.random() for _ in range(30)] for _ in range(2))
    ab, ba = compare_scores(a, b), compare_scores(b, a)
    assert isclose(ab.low, -ba.high)
    assert isclose(ab.p_value, ba.p_value)


def test_t_verdict_is_wrong_about_5_percent_of_the_time_on_graded_scores() -> None:
    random = Random(3)

    def graded() -> list[float]:
        return [random.choice((0.0, 0.1, 0.5, 1.0)) for _ in range(25)]

    wrong = fmean(compare_scores(graded(), graded()).verdict != "no difference shown" for _ in range(1500))
    assert 0.03 < wrong < 0.07


def test_few_graded_items_need_the_sign_test_too() -> None:
    c = compare_scores([0.9, 0.91, 0.92, 0.9, 0.91], [0.5, 0.5, 0.51, 0.5, 0.5])
    assert (c.verdict, c.p_value, c.low) == ("no difference shown", 0.0625, 0.0)
    assert compare_scores([0.9, 0.91] * 3, [0.5] * 6).verdict == "better"


def test_alike_differences_leave_room_for_the_unseen() -> None:
    c = compare_scores([0.5] * 40, [0.5] * 40)
    assert (c.verdict, c.p_value, c.difference) == ("no difference shown", 1.0, 0.0)
    assert isclose(c.high, 1 - 0.05 ** (1 / 40), rel_tol=1e-9)


def test_items_are_matched_by_name_and_only_shared_ones_count() -> None:
    c = compare_items({"a": 1, "b": 0, "c": 1}, {"b": 1, "a": 0, "d": 1})
    assert (c.n, c.candidate_ahead, c.baseline_ahead) == (2, 1, 1)
    with pytest.raises(ValueError, match="share no item"):
        compare_items({"a": 1}, {"b": 1})
    with pytest.raises(ValueError, match="candidate has 1 scores, baseline 2"):
        compare_scores([1], [1, 0])
    with pytest.raises(ValueError, match=r"baseline\[0\] is nan"):
        compare_scores([1], [float("nan")])


def test_combined_tasks_weigh_each_task_alike() -> None:
    tasks = [compare_scores(*pairs(200, 60, 20, 120)), compare_scores(*pairs(20, 12, 6, 12))]
    c = combine_tasks(tasks)
    assert isclose(c.difference, (40 / 400 + 6 / 50) / 2)
    assert isclose(c.stderr, sqrt(tasks[0].stderr ** 2 + tasks[1].stderr ** 2) / 2)
    assert (c.n, c.candidate_ahead, c.baseline_ahead, c.verdict) == (450, 72, 26, "better")


def test_combined_verdict_needs_the_exact_test() -> None:
    """Five discordant items in all, on one side: t would reject, the fair coin would not (p = 1/16)."""
    tasks = [compare_scores(*pairs(50, 3, 0, 47)), compare_scores(*pairs(40, 2, 0, 58))]
    c = combine_tasks(tasks)
    assert (c.verdict, c.p_value, c.low) == ("no difference shown", 0.0625, 0.0)


def test_combined_tasks_without_spread_show_no_difference() -> None:
    alike = compare_scores(*pairs(25, 0, 0, 25))
    c = combine_tasks([alike, alike])
    assert (c.verdict, c.difference) == ("no difference shown", 0.0)
    assert isclose(c.high, alike.high)
