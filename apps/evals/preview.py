"""What the form of an eval run shows before anything runs: time, memory, the exact command."""

from __future__ import annotations

from typing import Any

from django.conf import settings

from apps.accounts.problems import Problem
from apps.calibration.services import past_accuracy
from apps.catalog.placement import code_note
from apps.catalog.policies import rule_against
from apps.engines.base import Placement
from apps.evals.forms import EvalRunForm
from apps.evals.plans import ENGINE, new_estimate, own_cost, plan_eval_run
from apps.jobs.option_form import OptionsForm
from apps.jobs.previews import chosen_row, command_facts
from apps.jobs.services import engine_named


def preview_eval_run(form: EvalRunForm, options: OptionsForm) -> dict[str, Any]:
    """Context of templates/evals/preview.html; without a model and a suite it is empty."""
    version, suite = chosen_row(form, "version"), chosen_row(form, "suite")
    nothing = {"plan": None, "command": None, "refusal": ""}
    if version is None or suite is None:
        return nothing
    if (options.is_bound and not options.is_valid()) or (form.is_bound and not form.is_valid()):
        return nothing | {"refusal": "Mend the marked fields to see the estimate."}
    given = options.options if options.is_bound else {}
    more: dict[str, Any] = (
        {name: form.cleaned_data.get(name) for name in ("limit", "num_fewshot")} if form.is_bound else {}
    )
    try:
        plan = plan_eval_run(version=version, suite=suite, options=given, **more)
    except Problem as problem:
        return nothing | {"refusal": str(problem)}
    placement = Placement(variant="cuda" if plan.variant == "cuda" else "cpu")
    command = engine_named(ENGINE, kind="evaluate").command(plan.spec, placement)
    past = past_accuracy([new_estimate(plan, version=version, suite=suite)], "eval_seconds")
    return {"plan": plan, "past": past, "suite": suite, "command": command_facts(command)} | {
        "code_note": code_note(version),
        "own_cost": own_cost(plan),
        "currency": settings.CURRENCY,
        "refusal": rule_against(version, version.team),
    }
