"""Small makers of rows. People: alice (owner), bob (teammate), carol (stranger), admin."""

from __future__ import annotations

import hashlib
from typing import Any

from django.utils import timezone

from apps.accounts.models import Membership, Role, Team, User
from apps.catalog.models import Artifact, LineageEdge, Location, Model, ModelVersion
from apps.engines.base import Produced
from apps.fleet.models import Device, Host
from apps.jobs.models import Attempt, Job
from apps.jobs.states import JobStatus

GIB = 2**30


def make_team(name: str = "Lab West") -> Team:
    team, _ = Team.objects.get_or_create(slug=name.lower().replace(" ", "-"), defaults={"name": name})
    return team


def make_user(name: str = "alice", *, team: Team | None = None, role: Role = Role.MEMBER) -> User:
    """The person of that name, made if new; in `team` with `role` when a team is given."""
    user = User.objects.filter(username=name).first()
    if user is None:
        user = User.objects.create_user(username=name, password="a long pass phrase")
    if team is not None:
        Membership.objects.update_or_create(user=user, team=team, defaults={"role": role})
    return user


def make_host(name: str = "host-1", *, gpus: int = 0, ram_bytes: int = 24 * GIB) -> Host:
    """A host that was heard a moment ago, with its CPU and `gpus` GPUs of 24 GiB."""
    host = Host.objects.create(name=name, last_seen_at=timezone.now(), ram_bytes=ram_bytes, cpu_count=2)
    Device.objects.create(host=host, kind="cpu", uuid="cpu", name="Test CPU", memory_bytes=ram_bytes)
    for index in range(gpus):
        uuid = f"GPU-{name}-{index}"
        Device.objects.create(host=host, kind="gpu", index=index, uuid=uuid, name="RTX 4090", memory_bytes=24 * GIB)
    return host


def make_job(team: Team | None = None, *, user: User | None = None, kind: str = "train", **fields: Any) -> Job:
    """A job row as it stands in the database; nothing is scheduled."""
    spec = {"kind": kind, "engine": "fake"} | fields.pop("spec", {})
    if fields.get("status") in (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED):
        fields.setdefault("finished_at", timezone.now())
    defaults = {"name": f"A {kind} job", "engine": spec["engine"]} | fields
    return Job.objects.create(team=team or make_team(), created_by=user, kind=kind, spec=spec, **defaults)


def make_attempt(job: Job, host: Host, **fields: Any) -> Attempt:
    return Attempt.objects.create(job=job, host=host, epoch=job.attempts.count() + 1, **fields)


LLAMA_CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 576, "intermediate_size": 1536,
    "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49152,
    "max_position_embeddings": 8192, "tie_word_embeddings": True,
}  # fmt: skip


def make_produced(role: str = "weights", *, path: str = "/models/tiny", content: str = "tiny") -> Produced:
    """What a finished download or training reports; another `content` gives other hashes."""
    name = "model.safetensors" if role == "weights" else "adapter_model.safetensors"
    digest = hashlib.sha256(content.encode()).hexdigest()
    facts = {
        "parameters": 134_515_008, "context_length": 8192, "dtype": "bfloat16", "layers": 30,
        "weights_bytes": 269_060_552, "config": LLAMA_CONFIG,
    }  # fmt: skip
    return Produced.model_validate(
        {
            "role": role, "path": path, "size_bytes": 269_060_552, "sha256": digest, "facts": facts,
            "files": [{"path": name, "size_bytes": 269_060_552, "sha256": digest}],
        }
    )  # fmt: skip


def make_version(
    team: Team | None = None,
    *,
    name: str = "tiny",
    label: str = "0123456789ab",
    host: Host | None = None,
    **fields: Any,
) -> ModelVersion:
    """A model with one version, from the Hub unless `source` says otherwise; its files lie on `host`."""
    team, produced = team or make_team(), make_produced()
    source = {"source": fields.pop("source", "hub"), "source_ref": fields.pop("source_ref", f"lab/{name}")}
    model, _ = Model.objects.get_or_create(team=team, name=name, defaults=source | {"license": "apache-2.0"})
    defaults = {"precision": "bf16", "parameter_count": 134_515_008, "context_length": 8192, "facts": produced.facts}
    version = ModelVersion.objects.create(team=team, model=model, label=label, revision=label, **(defaults | fields))
    make_artifact(version, produced, host=host)
    return version


def make_artifact(version: ModelVersion, produced: Produced, *, host: Host | None = None) -> Artifact:
    artifact = Artifact.objects.create(
        version=version, role=produced.role, format=produced.format, size_bytes=produced.size_bytes,
        manifest_sha256=produced.sha256, files=produced.files,
    )  # fmt: skip
    if host is not None:
        Location.objects.create(artifact=artifact, host=host, path=produced.path)
    return artifact


def make_adapter(base: ModelVersion, *, name: str = "tiny-tuned", host: Host | None = None) -> ModelVersion:
    """A LoRA adapter on `base`; its files lie on `host`."""
    model = Model.objects.create(team=base.team, name=name, source="fine_tune", source_ref=base.model.name)
    version = ModelVersion.objects.create(team=base.team, model=model, label="v1", precision=base.precision)
    LineageEdge.objects.create(parent=base, child=version, relation="adapter")
    make_artifact(version, make_produced("adapter", path=f"/work/{name}", content=name), host=host)
    return version
