"""Small make_*() functions: valid rows with the least said. Append yours at the end."""

from __future__ import annotations

import hashlib
import itertools
from datetime import timedelta
from typing import Any

from django.utils import timezone

from apps.accounts.models import Membership, Role, Team, User
from apps.accounts.services import create_api_token
from apps.catalog.models import Artifact, LineageEdge, Location, Model, ModelVersion
from apps.engines.base import Produced
from apps.evals.models import EvalRun, SampleResult, Score, Suite
from apps.fleet.ingest import record_telemetry
from apps.fleet.models import Device, Host
from apps.fleet.schemas import SampleIn
from apps.jobs.models import Attempt, Job
from apps.serving.models import Endpoint, Replica, Route, RouteTarget

GIB = 1024**3
_numbers = itertools.count(1)


def make_team(name: str = "") -> Team:
    name = name or f"Team {next(_numbers)}"
    return Team.objects.create(name=name, slug=name.lower().replace(" ", "-"))


def make_user(name: str = "", *, team: Team | None = None, role: str = Role.MEMBER, **fields: Any) -> User:
    user = User.objects.create(username=name or f"user{next(_numbers)}", **fields)
    if team is not None:
        Membership.objects.create(user=user, team=team, role=role)
    return user


def api_headers(user: User, scope: str = "write") -> dict[str, str]:
    """For `client.get(..., headers=api_headers(user))`."""
    return {"Authorization": f"Bearer {create_api_token(user=user, name='test', scope=scope)[1].plain}"}


def make_host(name: str = "", *, gpus: int = 0, ram_gib: int = 16, **fields: Any) -> Host:
    """A host that just reported, with its CPU device and `gpus` GPUs of 24 GiB."""
    number = next(_numbers)
    room = {"cpu_count": 4, "ram_bytes": ram_gib * GIB, "disk_free_bytes": 10**12}
    fields = {"last_seen_at": timezone.now()} | room | fields
    host = Host.objects.create(name=name or f"host{number}", **fields)
    Device.objects.create(host=host, kind="cpu", uuid="cpu", name="CPU", memory_bytes=ram_gib * GIB)
    for index in range(gpus):
        uuid = f"GPU-{number}-{index}"
        Device.objects.create(host=host, kind="gpu", index=index, uuid=uuid, name="RTX 4090", memory_bytes=24 * GIB)
    return host


def make_sample(host: Host, *, cpu_percent: float = 25, **fields: Any) -> None:
    """Telemetry as the host would send it, now or `at`; 50 % load, 12 GiB, 60 °C and 200 W on every GPU."""
    gpus = [
        {"uuid": gpu.uuid, "util_percent": 50, "memory_used_bytes": 12 * GIB, "temperature_c": 60, "power_w": 200}
        for gpu in host.devices.filter(kind="gpu")
    ]
    now = timezone.now()
    fields = {"at": now, "ram_used_bytes": 4 * GIB, "gpus": gpus} | fields
    is_long_ago = now - fields["at"] > timedelta(hours=12)
    sample = SampleIn(cpu_percent=cpu_percent, **fields)
    record_telemetry(host=host, samples=[sample], now=fields["at"] if is_long_ago else now)


def make_job(team: Team, *, kind: str = "evaluate", name: str = "", **fields: Any) -> Job:
    """A queued job of the fake engine; `status="failed"` and the like also set its end."""
    if fields.get("status") in ("succeeded", "failed", "cancelled"):
        fields.setdefault("finished_at", timezone.now())
    engine = {"serve": "fake-serve", "train": "fake-train", "evaluate": "fake-eval"}.get(kind, kind)
    fields = {"engine": engine, "spec": {"kind": kind, "engine": engine}} | fields
    return Job.objects.create(team=team, kind=kind, name=name or f"job{next(_numbers)}", **fields)


def make_attempt(job: Job, host: Host, **fields: Any) -> Attempt:
    return Attempt.objects.create(job=job, host=host, **({"epoch": job.attempts.count() + 1} | fields))


def make_model_version(team: Team, name: str = "", **fields: Any) -> ModelVersion:
    model = Model.objects.create(team=team, name=name or f"model{next(_numbers)}", source="hub")
    return ModelVersion.objects.create(team=team, model=model, label="v1", **fields)


def make_endpoint(team: Team, name: str = "", *, version: ModelVersion | None = None, **job: Any) -> Endpoint:
    """An endpoint with one replica; keyword arguments go to the replica's job."""
    name = name or f"endpoint{next(_numbers)}"
    version = version or make_model_version(team)
    endpoint = Endpoint.objects.create(team=team, name=name, version=version, engine="fake-serve")
    Replica.objects.create(endpoint=endpoint, job=make_job(team, kind="serve", name=name, **job))
    return endpoint


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


def make_stored_version(
    team: Team,
    *,
    name: str = "tiny",
    label: str = "0123456789ab",
    host: Host | None = None,
    **fields: Any,
) -> ModelVersion:
    """A model with one version, from the Hub unless `source` says otherwise; its files lie on `host`."""
    produced = make_produced()
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
    version = ModelVersion.objects.create(
        team=base.team, model=model, label="v1", precision=base.precision, facts=base.facts
    )
    LineageEdge.objects.create(parent=base, child=version, relation="adapter")
    make_artifact(version, make_produced("adapter", path=f"/runs/{name}", content=name), host=host)
    return version


def make_suite(name: str = "quiz", *, version: str = "1", tasks: tuple[str, ...] = ("colours",)) -> Suite:
    facts = {"metric": "acc", "filter": "none", "num_fewshot": 0, "item_count": 4, "prompt_tokens": 20}
    rows = [{"name": task, "title": task.capitalize(), "output_tokens": 0, "files": []} | facts for task in tasks]
    return Suite.objects.create(name=name, version=version, title=name, tasks=rows)


def make_eval_run(
    version: ModelVersion, suite: Suite, answers: dict[str, str], *, team: Team | None = None, **identity: Any
) -> EvalRun:
    """A finished run; `answers` maps a task to a string such as "1101", one 0/1 value an item."""
    job = make_job(team or version.team, status="succeeded", name=f"Evaluate {version.model.name}")
    run = EvalRun.objects.create(
        team=job.team, version=version, suite=suite, engine="lm-eval", tasks=list(answers), job=job
    )
    for task, values in answers.items():
        make_score(run, task, values, **identity)
    return run


def make_score(run: EvalRun, task: str, values: str, **identity: Any) -> Score:
    numbers = [float(value) for value in values]
    mean = sum(numbers) / len(numbers)
    stderr = (mean * (1 - mean) / max(1, len(numbers) - 1)) ** 0.5
    SampleResult.objects.bulk_create(
        SampleResult(run=run, task=task, item=item, item_sha256=hashlib.sha256(f"{task}{item}".encode()).hexdigest(),
                     value=value, prompt=f"{task} question {item}?", answer=f"answer {value:.0f}", target="answer 1")
        for item, value in enumerate(numbers)
    )  # fmt: skip
    fields = {"precision": "fp32", "engine": "lm-eval", "engine_version": "0.4.13", "task_version": "1"} | identity
    return Score.objects.create(
        run=run, version=run.version, task=task, metric="acc", value=mean, standard_error=stderr,
        item_count=len(numbers), is_headline=True, **({"suite_version": str(run.suite)} | fields)
    )  # fmt: skip


def make_live_endpoint(team: Team, host: Host, name: str = "chat", *, port: int = 18100, **attempt: Any) -> Endpoint:
    """An endpoint whose replica is ready on `host` and listens on `port`, with its route."""
    endpoint = make_endpoint(team, name, status="running", phase="ready")
    now = timezone.now()
    times = {"claimed_at": now, "ready_at": now, "lease_expires_at": now + timedelta(minutes=1)}
    make_attempt(endpoint.replicas.get().job, host, phase="ready", port=port, **(times | attempt))
    RouteTarget.objects.create(route=Route.objects.create(team=team, name=name), endpoint=endpoint)
    return endpoint
