"""Which files a job's model needs, on which hosts they lie, and how to get them to one more.

`prepare_model`, `hosts_with_model` and `resolve_model` fit the fields of jobs.kinds.KindHandler.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from apps.accounts.problems import invalid
from apps.catalog.models import Artifact, LineageEdge, Location, ModelVersion
from apps.catalog.policies import code_rule, runs_code
from apps.catalog.services import copy_version
from apps.engines.base import Engine, ModelRef, RunSpec
from apps.engines.sources import FETCHED
from apps.fleet.models import Host
from apps.jobs.kinds import CannotPrepare
from apps.jobs.models import Job


@dataclass(frozen=True)
class NeededFiles:
    """Weights to load, and the adapter on top of them if the version is one."""

    weights: Artifact
    adapter: Artifact | None = None

    def artifacts(self) -> list[Artifact]:
        return [self.weights, self.adapter] if self.adapter else [self.weights]


def model_ref(version: ModelVersion) -> ModelRef:
    """The version as a run's spec names it; paths are filled in at claim."""
    return ModelRef(name=version.model.name, version_id=version.public_id, precision=version.precision)


def code_granted(version: ModelVersion) -> dict[str, bool]:
    """What a run's payload says of the model's own Python: nothing where it needs none, nobody granted it, or it did
    not come with the files; then the engine has an implementation of its own, or says what it misses."""
    if not runs_code(version, version.team):
        return {}
    promise = promise_of(version)
    try:
        weights = needed_files(promise.parent if promise else version).weights
    except CannotPrepare:
        return {}
    return {"trusts_code": True} if weights.has_code else {}


def code_note(version: ModelVersion) -> str:
    """For a preview: what the person is about to run, or why it will not run; empty where it is no code of the
    model's."""
    if not runs_code(version, version.team) or version.is_gguf:
        return ""
    if not code_granted(version):
        return (
            "This model brings Python code of its own, which was not fetched with it. Where the engine does not know "
            "the architecture itself, delete the version and import it again."
        )
    pinned = f" at {version.revision[:12]}" if version.revision else ""
    return f"This runs Python code of {version.model.source_ref}{pinned}, as {version.team} allows."


def loads(engine: Engine, version: ModelVersion) -> bool:
    """Whether the engine reads files of the version's format."""
    return version.is_gguf == (engine.weights_format == "gguf")


def check_loads(engine: Engine, version: ModelVersion, field: str) -> None:
    """Raises Problem 422 on `field` for a version in a format that the engine does not read."""
    if loads(engine, version):
        return
    stored, wanted = ("GGUF", "safetensors") if version.is_gguf else ("safetensors", "GGUF")
    message = f"{version} is stored as {stored}; {engine.title} loads {wanted}."
    if engine.kind == "serve":
        message += f" Serve it with {'llama.cpp' if version.is_gguf else 'vLLM'}."
    elif version.is_gguf:
        message += " Import the safetensors of the same model."
    raise invalid(field, message, value=engine.name if field == "engine" else version.public_id)


def prepare_model(job: Job, host: Host) -> Sequence[Job]:
    """Downloads that must end before `job` can start on `host`; none when every file lies there.

    Raises CannotPrepare with a sentence for the person when nothing can bring a file there.
    """
    files = _files_of(job)
    if files is None:
        return []
    return [_bring(artifact, host) for artifact in files.artifacts() if not _path_on(artifact, host)]


def hosts_with_model(job: Job) -> Sequence[str]:
    """Names of the hosts that hold every file the job needs."""
    try:
        files = _files_of(job)
    except CannotPrepare:
        return []
    if files is None:
        return []
    holders = [set(a.locations.values_list("host__name", flat=True)) for a in files.artifacts()]
    return sorted(set.intersection(*holders))


def resolve_model(job: Job, host: Host) -> RunSpec:
    """The job's spec with the paths on `host`. Raises CannotPrepare when a file is no longer there, or the model's
    Python is no longer allowed."""
    spec = RunSpec.model_validate(job.spec)
    files = _files_of(job)
    if files is None or spec.model is None:
        return spec
    for artifact in files.artifacts():
        if not _path_on(artifact, host):
            raise CannotPrepare(f"The files of {artifact.version} are not on {host}.")
    paths = {
        "path": _loaded_path(files.weights, host),
        "adapter_path": _path_on(files.adapter, host) if files.adapter else "",
    }
    known = {name: value for name, value in spec.payload.items() if name != "trusts_code"}
    payload = known | code_granted((files.adapter or files.weights).version)
    return spec.model_copy(update={"model": spec.model.model_copy(update=paths), "payload": payload})


def needed_files(version: ModelVersion) -> NeededFiles:
    """Raises CannotPrepare when the version has no loadable files."""
    weights = version.artifacts.filter(role=Artifact.Role.WEIGHTS).first()
    if weights is not None:
        return NeededFiles(weights)
    adapter = version.artifacts.filter(role=Artifact.Role.ADAPTER).first()
    edge = version.parent_edges.filter(relation=LineageEdge.Relation.ADAPTER).select_related("parent", "job").first()
    if edge is not None and adapter is None and edge.job is not None:
        raise CannotPrepare(f"{version} has no files yet; {edge.job.public_id} makes them.")
    if adapter is None or edge is None:
        raise CannotPrepare(f"{version} has no files registered. Import it again.")
    base = edge.parent.artifacts.filter(role=Artifact.Role.WEIGHTS).first()
    if base is None:
        raise CannotPrepare(f"{version} is an adapter on an adapter. Merge {edge.parent} first.")
    return NeededFiles(base, adapter)


def promise_of(version: ModelVersion) -> LineageEdge | None:
    """The edge to the base of a version that a job is still to make; None for one with files."""
    if version.artifacts.exists():
        return None
    edges = version.parent_edges.filter(relation=LineageEdge.Relation.ADAPTER, job__isnull=False)
    return edges.select_related("parent", "job").first()


def _files_of(job: Job) -> NeededFiles | None:
    ref = RunSpec.model_validate(job.spec).model
    if ref is None or not ref.version_id:
        return None
    version = ModelVersion.objects.with_public_id(ref.version_id).select_related("model", "team").first()
    if version is None:
        raise CannotPrepare(f"The model version {ref.version_id} ({ref.name}) is no longer in the catalogue.")
    if rule := code_rule(version, job.team):
        raise CannotPrepare(rule)
    return needed_files(version)


def _loaded_path(weights: Artifact, host: Host) -> str:
    """What an engine is pointed at: the folder, or the first GGUF file in it."""
    folder = _path_on(weights, host)
    return f"{folder}/{weights.version.facts['gguf_file']}" if weights.format == "gguf" else folder


def _path_on(artifact: Artifact, host: Host) -> str:
    location = Location.objects.filter(artifact=artifact, host=host).first()
    return location.path if location else ""


def _bring(artifact: Artifact, host: Host) -> Job:
    """The job that fetches the artifact's files from their source onto `host`."""
    version = artifact.version
    if artifact.role == Artifact.Role.ADAPTER or version.model.source not in FETCHED:
        holders = ", ".join(artifact.locations.order_by("host__name").values_list("host__name", flat=True))
        where = f"lie only on {holders}" if holders else "lie on no host"
        raise CannotPrepare(f"The files of {version} {where} and cannot be fetched to {host}. Run it there instead.")
    return copy_version(version=version, host=host).job
