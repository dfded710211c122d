"""The eval run that an address names, and the suite that a person asks for."""

from __future__ import annotations

from django.http import HttpRequest

from apps.accounts.access import visible_or_404
from apps.accounts.problems import unknown_choice
from apps.accounts.rest import signed_in
from apps.evals.models import EvalRun, Suite


def visible_run(request: HttpRequest, run_id: str) -> EvalRun:
    """With its scores. Raises Http404."""
    run: EvalRun = visible_or_404(EvalRun.objects.with_scores(), signed_in(request), run_id, noun="eval run")
    return run


def suite_named(name: str) -> Suite:
    """The suite's current version. Raises Problem 422 with the nearest name."""
    suite = Suite.objects.filter(name=name, is_current=True).first()
    if suite is None:
        known = Suite.objects.filter(is_current=True).values_list("name", flat=True)
        raise unknown_choice("suite", name, known, noun="suite")
    return suite
