"""What a run is held against: unless a person chooses, the newest run of the version it was made from."""

from __future__ import annotations

from collections.abc import Sequence

from apps.accounts.models import User
from apps.catalog.models import LineageEdge
from apps.evals.comparison import headline_scores
from apps.evals.identity import condition_key
from apps.evals.models import EvalRun

CHOICES = 50  # runs offered to compare with


def baselines_of(runs: Sequence[EvalRun], user: User) -> dict[int, EvalRun]:
    """Run -> run of a parent version on the same suite, in a fixed number of queries.

    A run taken under the same conditions goes before a newer one that was not.
    """
    edges = LineageEdge.objects.filter(child__in={run.version_id for run in runs})
    parents: dict[int, set[int]] = {}
    for edge in edges:
        parents.setdefault(edge.child_id, set()).add(edge.parent_id)
    wanted = set().union(*parents.values())
    if not wanted:
        return {}
    visible: list[EvalRun] = list(
        EvalRun.objects.visible_to(user)
        .done()
        .filter(version__in=wanted, suite__in={run.suite_id for run in runs})
        .with_scores()
        .order_by("-pk")
    )
    found = {}
    for run in runs:
        theirs = [
            each
            for each in visible
            if each.suite_id == run.suite_id and each.version_id in parents.get(run.version_id, ())
        ]
        if theirs:
            found[run.pk] = next((each for each in theirs if _conditions(each) == _conditions(run)), theirs[0])
    return found


def choices_for(run: EvalRun, user: User) -> list[EvalRun]:
    """Other finished runs on any version of the same suite, newest first."""
    rows = EvalRun.objects.visible_to(user).done().filter(suite__name=run.suite.name).exclude(pk=run.pk)
    return list(rows.with_scores().order_by("-pk")[:CHOICES])


def chosen_baseline(run: EvalRun, user: User, wanted: str) -> EvalRun | None:
    """The run a person asked for, else the one of the parent version; `none` compares with nothing."""
    if wanted == "none":
        return None
    rows = EvalRun.objects.visible_to(user).done().exclude(pk=run.pk).with_public_id(wanted).with_scores()
    chosen: EvalRun | None = rows.first() if wanted else None
    return chosen or baselines_of([run], user).get(run.pk)


def _conditions(run: EvalRun) -> set[tuple[str, ...]]:
    return {condition_key(score) for score in headline_scores(run)}
