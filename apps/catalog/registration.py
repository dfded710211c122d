"""Makes models, versions, artifacts and locations out of what a finished job left on its host.

These run in the transaction that finishes the job; running them again changes nothing.
"""

from __future__ import annotations

from typing import Any

from django.db import transaction

from apps.accounts.audit import audit
from apps.accounts.models import Team, User
from apps.accounts.services import lock_team
from apps.catalog.card_scores import storable
from apps.catalog.lineage_edges import join_lineage
from apps.catalog.models import Artifact, CardScore, LineageEdge, Location, Model, ModelImport, ModelVersion
from apps.catalog.policies import broken_rule, pickles_of, policy_of
from apps.engines.base import Produced, Result
from apps.fleet.models import Host
from apps.jobs.models import Job
from apps.jobs.states import JobStatus
from apps.planning.config_precision import precision_of
from apps.planning.configs import shape_from_config
from apps.planning.precisions import UNSTATED, precision_name
from apps.planning.shapes import CannotEstimate, ModelShape


class CannotRegister(Exception):
    """The job said it was done, but what it left is not what was asked for."""


@transaction.atomic
def register_download(job: Job) -> None:
    """The end of a download: its model version with files and place. A failed one registers nothing."""
    row = ModelImport.objects.select_for_update(of=("self",)).filter(job=job).first()
    if row is None or job.status != JobStatus.SUCCEEDED:
        return
    produced = _produced(job)
    version = row.version or _downloaded_version(row, produced)
    artifact = _artifact(version, Artifact.Role.WEIGHTS, produced)
    is_copy = "came_from" in job.result["data"]  # of a folder that was found on another host
    is_adopted = produced.is_in_place or (row.source == Model.Source.PATH and not is_copy)
    _located(artifact, _host_of(job), produced.path, is_adopted=is_adopted)
    if row.version_id != version.pk:
        row.version = version
        row.save(update_fields=["version"])
        audit(row.created_by, "model.imported", object_id=version.public_id, object_name=str(version), team=row.team)


@transaction.atomic
def register_adapter_version(
    *, base: ModelVersion, name: str, team: Team, user: User | None, job: Job, host: Host, produced: Produced
) -> ModelVersion:
    """A LoRA adapter that `job` trained on `base`, as a version of the fine-tuned model `name`."""
    version = promise_adapter_version(base=base, name=name, team=team, user=user, job=job)
    if version.artifacts.exists():
        return version
    version.note = f"LoRA adapter on {base}"[:200]
    version.facts = {**base.facts, "adapter": produced.facts}
    version.save(update_fields=["note", "facts"])
    _located(_artifact(version, Artifact.Role.ADAPTER, produced), host, produced.path)
    audit(user, "model.fine_tuned", object_id=version.public_id, object_name=str(version), team=team)
    return version


@transaction.atomic
def promise_adapter_version(*, base: ModelVersion, name: str, team: Team, user: User | None, job: Job) -> ModelVersion:
    """The version that `job` is to make: without files until it succeeds, so that others can be asked for it.

    A model of that name which was not fine-tuned here keeps it; the adapter's model is then named after
    the job too, because a finished training is never lost over a name.
    """
    lock_team(team)
    known = LineageEdge.objects.filter(parent=base, job=job, relation=LineageEdge.Relation.ADAPTER).first()
    if known is not None:
        return known.child
    taken = Model.objects.filter(team=team, name=name).exclude(source=Model.Source.FINE_TUNE).exists()
    model, _ = Model.objects.get_or_create(
        team=team,
        name=f"{name[:100]}-{job.public_id}" if taken else name,
        defaults={
            "created_by": user,
            "source": Model.Source.FINE_TUNE,
            "source_ref": base.model.name,
            "publisher": team.name,
            "license": base.model.license,
        },
    )
    version: ModelVersion = ModelVersion.objects.create(
        team=team,
        created_by=user,
        model=model,
        label=f"v{model.versions.count() + 1}",
        note=f"{job.public_id} makes it: a LoRA adapter on {base}"[:200],
        precision=base.precision,
        parameter_count=base.parameter_count,
        active_parameter_count=base.active_parameter_count,
        needs_remote_code=base.needs_remote_code,
        context_length=base.context_length,
        facts=base.facts,
    )
    LineageEdge.objects.create(parent=base, child=version, relation=LineageEdge.Relation.ADAPTER, job=job)
    return version


def _produced(job: Job) -> Produced:
    result = Result.model_validate(job.result)
    found = next((each for each in result.produced if each.role == "weights"), None)
    if found is None or not found.files:
        raise CannotRegister("The download ended without a list of model files.")
    return found


def _host_of(job: Job) -> Host:
    attempt = job.attempts.select_related("host").order_by("-epoch").first()
    if attempt is None:
        raise CannotRegister(f"{job.public_id} ended without an attempt, so its files are on no host.")
    host: Host = attempt.host
    return host


def _downloaded_version(row: ModelImport, produced: Produced) -> ModelVersion:
    config = produced.facts.get("config", {})
    # Workers of before say nothing of it.
    said = (row.facts.get("needs_remote_code"), produced.facts.get("needs_remote_code"), "auto_map" in config)
    needs_remote_code = any(said)
    rule = broken_rule(
        policy_of(row.team),
        name=row.name,
        license=None,
        is_gguf=produced.format == "gguf",
        needs_remote_code=needs_remote_code,
        has_pickle=bool(pickles_of(produced.files)),
    )
    if rule:  # of a folder it is known only now
        raise CannotRegister(rule)
    model = _model_of(row)
    version, is_new = ModelVersion.objects.get_or_create(
        model=model,
        label=_label(row, produced),
        defaults={
            "team": row.team,
            "created_by": row.created_by,
            "revision": row.revision,
            "variant": row.variant,
            "note": row.facts.get("note", "")[:200],
            "precision": stored_precision(produced.facts),
            "parameter_count": total_parameters(produced.facts),
            "active_parameter_count": active_parameters(config),
            "context_length": produced.facts.get("context_length"),
            "needs_remote_code": needs_remote_code,
            "facts": produced.facts,
        },
    )
    if is_new:
        source = f"{row.source_ref}@{row.revision}"
        scores = [CardScore(version=version, source=source, **score) for score in row.facts.get("scores", [])]
        CardScore.objects.bulk_create(scores)
    join_lineage(version)
    return version


def _model_of(row: ModelImport) -> Model:
    """Raises CannotRegister where its name has become another model's."""
    facts = row.facts
    model, _ = Model.objects.get_or_create(
        team=row.team,
        name=row.name,
        defaults={
            "created_by": row.created_by,
            "source": row.source,
            "source_ref": row.source_ref,
            "publisher": facts.get("publisher", "")[:120],
            "license": facts.get("license", "")[:80],
            "summary": facts.get("summary", "")[:300],
            "card": facts.get("card", ""),
            "task": facts.get("task", ""),
            "languages": facts.get("languages", []),
            "monthly_downloads": facts.get("monthly_downloads"),
            "is_gated": facts.get("is_gated", False),
            "base_models": facts.get("base_models", []),
        },
    )
    if (model.source, model.source_ref) != (row.source, row.source_ref):
        raise CannotRegister(f"{row.name} has become the name of another model; import it under a new name.")
    return model


def _label(row: ModelImport, produced: Produced) -> str:
    """A folder names no revision, so its content is its name; of GGUF files the quantisation goes first."""
    state = (row.revision or produced.sha256)[:12]
    chosen = row.variant or (str(produced.facts["quantisation"]) if produced.format == "gguf" else "")
    return f"{chosen}-{state}" if chosen else state


def stored_precision(facts: dict[str, Any]) -> str:
    """One spelling of how the weights are stored, by bits where the config says them; an unknown quantisation keeps
    its own name. Empty where neither says anything, as of a quantization_config that names no method."""
    quantization = facts.get("config", {}).get("quantization_config")
    named = precision_of(quantization) if isinstance(quantization, dict) else UNSTATED
    if not named.startswith(UNSTATED):
        return storable(named)[:20]
    method, dtype = (_text(facts.get(key)) for key in ("quantisation", "dtype"))
    plain = "" if quantization else dtype
    stored = plain if method in ("", "none") else method
    try:
        return precision_name(stored) if stored else ""
    except CannotEstimate:
        return stored[:20]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def total_parameters(facts: dict[str, Any]) -> int | None:
    """By the headers of the weights; of quantised ones, which pack several into one number, by the shape."""
    config = facts.get("config") or {}
    if not isinstance(config.get("quantization_config"), dict):
        return facts.get("parameters")
    shape = _shape(config)
    return shape.parameters if shape else None


def active_parameters(config: dict[str, Any]) -> int | None:
    """What a token meets in a mixture of experts; None for a dense or an unknown architecture."""
    shape = _shape(config)
    return shape.active_parameters if shape and shape.is_moe else None


def _shape(config: dict[str, Any]) -> ModelShape | None:
    try:
        return shape_from_config(config)
    except CannotEstimate:
        return None


def _artifact(version: ModelVersion, role: Artifact.Role, produced: Produced) -> Artifact:
    """The version's artifact; raises CannotRegister when these files are not the same ones."""
    known = version.artifacts.filter(role=role).first()
    if known is None:
        return Artifact.objects.create(
            version=version,
            role=role,
            format=produced.format,
            size_bytes=produced.size_bytes,
            manifest_sha256=produced.sha256,
            files=produced.files,
        )
    if known.manifest_sha256 != produced.sha256:
        raise CannotRegister(f"These files are not those of {version}: {_first_difference(known, produced)} differs.")
    return known


def _first_difference(known: Artifact, produced: Produced) -> str:
    before = {file["path"]: file["sha256"] for file in known.files}
    after = {file["path"]: file["sha256"] for file in produced.files}
    paths: set[str] = before.keys() | after.keys()
    return min(path for path in paths if before.get(path) != after.get(path))


def _located(artifact: Artifact, host: Host, path: str, *, is_adopted: bool = False) -> None:
    Location.objects.update_or_create(artifact=artifact, host=host, defaults={"path": path, "is_adopted": is_adopted})
