"""What the form of a fine-tune shows before anything runs: fit, time, and the exact files."""

from __future__ import annotations

from typing import Any

from django.conf import settings

from apps.accounts.problems import Problem
from apps.calibration.services import past_accuracy
from apps.catalog.placement import code_note
from apps.catalog.policies import rule_against
from apps.engines.base import Placement
from apps.finetunes import services
from apps.finetunes.estimates import behind_an_api, estimate_training, new_estimates, own_cost
from apps.finetunes.forms import FineTuneForm
from apps.jobs.option_form import OptionsForm
from apps.jobs.previews import chosen_row, command_facts
from apps.jobs.services import default_placement, engine_named, planned_device


def preview_fine_tune(form: FineTuneForm, options: OptionsForm) -> dict[str, Any]:
    """Context of templates/finetunes/preview.html; without a base and a data set it is empty."""
    base, dataset = chosen_row(form, "base"), chosen_row(form, "dataset")
    if base is None or dataset is None:
        return {"estimate": None, "command": None, "refusal": ""}
    given = options.options if options.is_bound and options.is_valid() else {}
    if options.is_bound and options.errors:
        return {"estimate": None, "command": None, "refusal": "Mend the marked fields to see the estimate."}
    engine = engine_named(services.ENGINE, kind="train")
    variant, gpus = default_placement(engine)
    try:
        spec = services.build_spec(base=base, dataset=dataset, engine=services.ENGINE, options=given)
    except Problem as problem:
        return {"estimate": None, "command": None, "refusal": str(problem)}
    placement = Placement(variant="cuda" if variant == "cuda" else "cpu")
    command = engine.command(spec, placement)
    device = planned_device(engine, gpus=gpus)
    estimate = estimate_training(base=base, dataset=dataset, options=spec.options, device=device)
    run = {"engine": spec.engine, "base": base, "dataset": dataset, "options": spec.options, "device": device}
    rows = new_estimates(estimate, **run) if estimate else []
    return {
        "estimate": estimate,
        "past": past_accuracy(rows, "peak_memory_bytes"),
        "past_step": past_accuracy(rows, "step_seconds"),
        "own_cost": own_cost(estimate, gpus, device) if estimate and device and gpus else None,
        "currency": settings.CURRENCY,
        "api_costs": behind_an_api(dataset, spec.options),
        "parts": estimate.parts if estimate else {},
        "capacity_bytes": device.usable_bytes if device else 0,
        "on_gpu": gpus > 0,
        "command": command_facts(command),
        "code_note": code_note(base),
        "refusal": rule_against(base, base.team),
    }
