"""Data sets come in whole or not at all; a fine-tune is a job whose result becomes a model version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.db import transaction

from apps.accounts.access import require_role
from apps.accounts.audit import audit
from apps.accounts.models import Role, Team, User
from apps.accounts.problems import conflict, invalid
from apps.accounts.services import lock_team
from apps.calibration.services import record_estimates
from apps.catalog.models import ModelVersion
from apps.catalog.placement import check_loads, code_granted, model_ref
from apps.catalog.policies import require_allowed
from apps.catalog.registration import register_adapter_version
from apps.engines.base import Input, Produced, RunSpec
from apps.finetunes.chat_rows import read_chat_rows
from apps.finetunes.estimates import estimate_training, new_estimates
from apps.finetunes.models import Dataset, FineTune
from apps.finetunes.names import check_name
from apps.jobs.blobs import put_blob
from apps.jobs.models import Job
from apps.jobs.services import checked_options, default_placement, engine_named, planned_device, submit_job
from apps.jobs.terms import USUAL, Terms

ENGINE = "axolotl"
TOUR_DATASET = Path(__file__).parent / "tour" / "dataset.jsonl"
SAMPLE_ROWS = 20


@transaction.atomic
def create_dataset(*, team: Team, user: User, name: str, data: bytes, description: str = "") -> Dataset:
    """Keeps the rows under their sha256. The same bytes under the same name are the same data set.

    Raises Problem 422 for rows that are not chat rows, 409 for a name with other bytes.
    """
    require_role(user, Role.MEMBER, team)
    check_name(name)
    rows = read_chat_rows(data)
    blob = put_blob(data)
    lock_team(team)
    existing: Dataset | None = Dataset.objects.filter(team=team, name=name).first()
    if existing is not None:
        if existing.sha256 == blob.sha256:
            return existing
        raise conflict(f"A data set named “{name}” exists with other rows. Choose another name.")
    dataset = Dataset.objects.create(
        team=team,
        created_by=user,
        name=name,
        description=description[:300],
        sha256=blob.sha256,
        size_bytes=blob.size_bytes,
        row_count=len(rows),
        sample_rows=rows[:SAMPLE_ROWS],
    )
    audit(user, "dataset.created", object_id=dataset.public_id, object_name=name, team=team)
    return dataset


def build_spec(*, base: ModelVersion, dataset: Dataset, engine: str, options: dict[str, Any]) -> RunSpec:
    """What the engine will be asked; the preview and the job share it."""
    asked = engine_named(engine, kind="train")
    check_loads(asked, base, "base")
    checked = checked_options(asked, options)
    source = Input(name="dataset.jsonl", sha256=dataset.sha256, size_bytes=dataset.size_bytes)
    return RunSpec(
        kind="train",
        engine=engine,
        model=model_ref(base),
        options=checked,
        inputs=[source],
        payload={"dataset": source.name} | code_granted(base),
    )


@transaction.atomic
def create_fine_tune(
    *,
    team: Team,
    user: User,
    name: str,
    base: ModelVersion,
    dataset: Dataset,
    engine: str = ENGINE,
    options: dict[str, Any] | None = None,
    terms: Terms = USUAL,
) -> FineTune:
    """Starts a LoRA fine-tune of the team's own base on its own rows.

    Raises Problem 409 for a taken name, 422 for a wrong engine or option and for another team's base or rows.
    """
    require_role(user, Role.MEMBER, team)
    check_name(name)
    lock_team(team)
    if FineTune.objects.filter(team=team, name=name).exists():
        raise conflict(f"A fine-tune named “{name}” exists. Choose another name.")
    _check_parts(team, base, dataset)
    require_allowed(base, team, "base")
    spec = build_spec(base=base, dataset=dataset, engine=engine, options=options or {})
    asked = engine_named(spec.engine, kind="train")
    variant, gpus = default_placement(asked)
    device = planned_device(asked, gpus=gpus)
    estimate = estimate_training(base=base, dataset=dataset, options=spec.options, device=device)
    job = submit_job(
        team=team,
        user=user,
        kind="train",
        name=f"Fine-tune {base.model.name} on {dataset.name}",
        spec=spec,
        variant=variant,
        gpus=gpus,
        vram_bytes=estimate.total_bytes if estimate and gpus else 0,
        ram_bytes=estimate.total_bytes if estimate and not gpus else 0,
        terms=terms,
    )
    if estimate:
        rows = new_estimates(estimate, engine=engine, base=base, dataset=dataset, options=spec.options, device=device)
        record_estimates(job=job, estimates=rows)
    fine_tune = FineTune.objects.create(
        team=team,
        created_by=user,
        name=name,
        base=base,
        dataset=dataset,
        engine=engine,
        job=job,
    )
    audit(user, "fine_tune.created", object_id=fine_tune.public_id, object_name=name, team=team)
    return fine_tune


def _check_parts(team: Team, base: ModelVersion, dataset: Dataset) -> None:
    for field, row in (("base", base), ("dataset", dataset)):
        if row.team_id != team.pk:
            message = f"{row} belongs to {row.team}; this fine-tune would be {team}'s."
            raise invalid(field, message, value=row.public_id)
    if base.artifacts.filter(role="adapter").exists():
        raise invalid("base", f"{base} is itself an adapter. Fine-tune its base model.", value=base.public_id)


def register_output(job: Job) -> None:
    """When the run succeeded: its adapter becomes a model version below its base. Safe to repeat."""
    fine_tune = FineTune.objects.filter(job=job).select_related("base", "team", "created_by").first()
    if fine_tune is None or job.status != "succeeded" or fine_tune.output_id is not None:
        return
    attempt = job.attempts.order_by("-epoch").select_related("host").first()
    produced = [Produced.model_validate(item) for item in job.result.get("produced", [])]
    adapter = next((item for item in produced if item.role == "adapter"), None)
    if adapter is None or attempt is None:
        raise LookupError("the run reported no adapter")
    fine_tune.output = register_adapter_version(
        base=fine_tune.base,
        name=fine_tune.name,
        team=fine_tune.team,
        user=fine_tune.created_by,
        job=job,
        host=attempt.host,
        produced=adapter,
    )
    fine_tune.save(update_fields=["output"])


def tour_dataset(*, team: Team, user: User) -> Dataset:
    """The small data set shipped with the tour, made on first use."""
    return create_dataset(
        team=team,
        user=user,
        name="stackweb-tour",
        data=TOUR_DATASET.read_bytes(),
        description="Shipped with Stackweb for its tour.",
    )
