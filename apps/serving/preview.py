"""What the deploy form shows before anything runs: fit, what comes first, and the exact command."""

from __future__ import annotations

from typing import Any

from apps.accounts.problems import Problem
from apps.calibration.services import past_accuracy
from apps.catalog.models import Location, ModelVersion
from apps.catalog.placement import code_note, needed_files
from apps.catalog.policies import rule_against
from apps.engines.base import Placement
from apps.engines.locks import UnknownLock, read_lock
from apps.fleet.models import Host
from apps.jobs.chances import fleet_timeline
from apps.jobs.environments import has_environment
from apps.jobs.kinds import CannotPrepare
from apps.jobs.option_form import OptionsForm
from apps.jobs.previews import command_facts
from apps.planning.serving_plan import FitEstimate
from apps.serving.engine_advice import engine_advice
from apps.serving.estimates import new_estimates, totals
from apps.serving.forms import EndpointForm
from apps.serving.plans import Plan, plan_serving
from apps.serving.services import name_for
from apps.serving.starts import HostStart, files_of, host_starts


def preview_endpoint(form: EndpointForm, options: OptionsForm) -> dict[str, Any]:
    """Context of templates/serving/preview.html; a refusal says what to mend first."""
    version = form.chosen_version
    if version is None:
        return {}
    if options.is_bound and not options.is_valid():
        return {"refusal": _first_error(options)}
    name = str(form["name"].value() or "") or name_for(version)
    try:
        plan = plan_serving(version=version, engine=form.engine_name(), options=options.options, name=name)
    except Problem as problem:
        return {"refusal": str(problem)}
    estimates = new_estimates(plan, version)
    rule = rule_against(version, version.team)
    return {"plan": plan, "fit": plan.fit, "name": name, "command": command_of(plan), "refusal": rule} | {
        "code_note": code_note(version),
        "first_steps": first_steps(plan, version),
        "starts": _starts(plan, version),
        "advice": engine_advice(plan, version),
        "past": past_accuracy(estimates, "peak_memory_bytes"),
        "past_speed": past_accuracy(estimates, "decode_tokens_per_second"),
        "parts": plan.fit.parts if plan.fit else {},
        "total": _total_words(plan.fit),
        "capacity_bytes": plan.capacity_bytes,
    }


def _first_error(options: OptionsForm) -> str:
    name, errors = next(iter(options.errors.items()))
    label = options.fields[name].label if name in options.fields else "The options"
    return f"{label}: {errors[0]}"


def _total_words(fit: FitEstimate | None) -> dict[str, int]:
    return dict(zip(("middle", "low", "high"), totals(fit), strict=True)) if fit else {}


def _starts(plan: Plan, version: ModelVersion) -> list[HostStart]:
    """The hosts that could take it; none where it does not fit."""
    if plan.fit is None or not plan.fit.fits:
        return []
    try:
        files = files_of(needed_files(version).artifacts())
    except CannotPrepare:
        files = None
    timeline, need = fleet_timeline(), plan.need
    hosts = [need.host] if need.host else list(timeline.hosts)
    return host_starts(timeline, need, hosts, files=files, engine=plan.engine.name)


def command_of(plan: Plan) -> dict[str, Any]:
    """The engine's own command, with names where the host fills in a value."""
    placement = Placement(
        variant="cuda" if plan.variant == "cuda" else "cpu",
        devices=list(range(plan.gpus)),
        ram_bytes=plan.ram_bytes,
    )
    command = plan.engine.command(plan.spec, placement)
    argv = [
        "<port>" if before == "--port" else word
        for before, word in zip(["", *command.argv], command.argv, strict=False)
    ]
    return command_facts(command.model_copy(update={"argv": argv}))


def first_steps(plan: Plan, version: ModelVersion) -> list[str]:
    """What must happen on the host before the engine starts; empty when all is there."""
    host = plan.device.host if plan.device else None
    if host is None:
        return []
    return [step for step in (_install_step(plan, host), _download_step(version, host)) if step]


def _install_step(plan: Plan, host: Host) -> str:
    environment = plan.engine.environment
    if environment is None or has_environment(host, environment, plan.variant):
        return ""
    try:
        room = f"{read_lock(environment, plan.variant).disk_bytes / 1e9:.1f} GB on disk"
    except UnknownLock:
        return f"{plan.engine.title} is not on {host}. Stackweb cannot install it; name its folder to the worker."
    return f"{plan.engine.title} {plan.engine.version} is installed on {host} first, once, {room}."


def _download_step(version: ModelVersion, host: Host) -> str:
    try:
        artifacts = needed_files(version).artifacts()
    except CannotPrepare as refusal:
        return str(refusal)
    held = set(Location.objects.filter(host=host, artifact__in=artifacts).values_list("artifact_id", flat=True))
    missing = sum(artifact.size_bytes for artifact in artifacts if artifact.pk not in held)
    return f"{missing / 1e9:.1f} GB of weights are fetched to {host} first." if missing else ""
