"""Which suite a page or a call is about."""

from __future__ import annotations

from apps.accounts.models import User
from apps.accounts.problems import unknown_choice
from apps.evals.models import EvalRun, Suite


def suites_with_runs(user: User) -> list[Suite]:
    """Every suite and version that has scores to show, the newest run's first; then current ones without."""
    newest: dict[int, None] = {}
    runs = EvalRun.objects.visible_to(user).done().order_by("-pk")
    for pk in runs.values_list("suite", flat=True)[:2000]:
        newest.setdefault(pk)
    suites = Suite.objects.in_bulk(list(newest))
    rest = Suite.objects.filter(is_current=True).exclude(pk__in=newest).order_by("name")
    return [*(suites[pk] for pk in newest), *rest]


def chosen_suite(user: User, wanted: str) -> Suite | None:
    """By name, or name and version as `tour@1`; without a wish the one that ran last. None where there is none.

    Raises Problem 422 with the nearest name.
    """
    known = suites_with_runs(user)
    if not wanted:
        return known[0] if known else None
    name, _, version = wanted.partition("@")
    fitting = [suite for suite in known if suite.name == name and version in ("", suite.version)]
    if not fitting:
        raise unknown_choice("suite", wanted, {suite.name for suite in known} | set(map(key_of, known)), noun="suite")
    return next((suite for suite in fitting if suite.is_current), fitting[0])


def key_of(suite: Suite) -> str:
    return f"{suite.name}@{suite.version}"
