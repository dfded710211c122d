"""An installation in full use: people, hosts, models, endpoints and runs, for pages to show."""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.utils import timezone

from apps.accounts.models import Membership, Team, User
from apps.accounts.services import create_api_token
from apps.calibration.models import Estimate
from apps.catalog.models import ModelVersion
from apps.fleet.models import EngineEnvironment, Host, Reservation
from apps.fleet.operations import cordon_host, set_price
from apps.gateway.models import UsageRecord
from apps.gateway.services import create_virtual_key
from apps.jobs.attempt_logs import append_log
from apps.jobs.models import Attempt, Job, JobEvent
from apps.serving.models import Endpoint, Replica
from apps.serving.services import create_endpoint
from tests.factories import GIB, make_adapter, make_host, make_sample, make_stored_version, make_team, make_user

PASSWORD = "correct-horse-battery"

CARD = """# {name}

An instruction-tuned model for chat, summaries and tool calls.

| Benchmark | Score |
|---|---|
| MMLU (5-shot) | 70.1 |
| GSM8K | 82.4 |

Use the chat template of the tokenizer: `tokenizer.apply_chat_template(messages)`.
"""


@dataclass
class World:
    team: Team
    ana: User  # admin of the installation
    kai: User
    hosts: dict[str, Host] = field(default_factory=dict)
    versions: dict[str, ModelVersion] = field(default_factory=dict)
    endpoints: dict[str, Endpoint] = field(default_factory=dict)


def make_world() -> World:
    team = make_team("Platform")
    ana = make_user("ana", team=team, role="admin", display_name="Ana Ruiz", is_superuser=True)
    ana.set_password(PASSWORD)
    ana.save()
    kai = make_user("kai", team=team, display_name="Kai Brandt")
    make_user("lea", team=team, role="viewer", display_name="Léa Moreau")
    support = make_team("Support AI")
    Membership.objects.create(user=kai, team=support, role="member")
    create_api_token(user=ana, name="nightly evaluations", scope="write")
    create_virtual_key(team=team, user=ana, name="support-app", requests_per_minute=600)
    world = World(team, ana, kai)
    _fleet(world)
    _models(world)
    _endpoints(world)
    return world


def _fleet(world: World) -> None:
    kinds = (
        ("atlas", 4, "NVIDIA A100-SXM4-80GB", 80, 512, 400), ("borea", 4, "NVIDIA L40S", 48, 256, 350),
        ("dune", 2, "NVIDIA GeForce RTX 4090", 24, 128, 450),
    )  # fmt: skip
    for name, gpus, title, gib, ram_gib, watts in kinds:
        facts = {
            "disk_total_bytes": 7_600 * 10**9, "disk_free_bytes": 4_180 * 10**9, "cpu_count": 64,
            "cpu_model": "AMD EPYC 7543", "platform": "Linux-6.8.0-45-generic-x86_64", "architecture": "x86_64",
            "isolation": "cgroup", "cuda_version": "12.8", "agent_version": "0.2.0", "boot_id": f"boot-{name}",
            "booted_at": timezone.now() - timedelta(days=41), "models_dir": "/srv/models",
            # It goes on reporting, however long a test looks.
            "last_seen_at": timezone.now() + timedelta(hours=2),
        }  # fmt: skip
        host = make_host(name, gpus=gpus, ram_gib=ram_gib, **facts)
        cards = host.devices.filter(kind="gpu")
        cards.update(name=title, memory_bytes=gib * GIB, driver="570.86.15", power_limit_w=watts)
        for card in cards:
            card.links = [{"uuid": other.uuid, "kind": "nvlink" if name == "atlas" else "pcie"}
                          for other in cards if other.pk != card.pk]  # fmt: skip
            card.save(update_fields=["links"])
        world.hosts[name] = host
    set_price(host=world.hosts["atlas"], user=world.ana, gpu_hour_price=Decimal("1.89"))
    cordon_host(host=world.hosts["dune"], user=world.ana, reason="driver update")
    lost = "Jobs here have no cgroup of their own; start the worker by systemd or as root."
    Host.objects.filter(name="dune").update(isolation="process_group", warnings=[lost])
    far = timezone.now() - timedelta(minutes=12)
    disk = {"disk_total_bytes": 2 * 10**12, "disk_free_bytes": 10**12}
    world.hosts["cobalt"] = make_host("cobalt", ram_gib=32, cpu_count=16, last_seen_at=far, **disk)
    for engine, variant, size in (("vllm", "cuda", 9.4), ("lm-eval", "cuda", 5.1), ("axolotl", "cuda", 8.2)):
        EngineEnvironment.objects.create(
            host=world.hosts["atlas"], engine=engine, variant=variant, size_bytes=int(size * 1e9), lock_sha256="a" * 64,
            path=f"/var/lib/stackweb/environments/{engine}-{variant}",
        )  # fmt: skip


def _models(world: World) -> None:
    atlas = world.hosts["atlas"]
    rows = (
        ("smollm2-135m-instruct", "HuggingFaceTB", 134_515_008, 8192, (576, 1536, 30, 9, 3, 49152)),
        ("qwen2.5-7b-instruct", "Qwen", 7_615_616_512, 32768, (3584, 18944, 28, 28, 4, 152064)),
        ("llama-3.1-8b-instruct", "meta-llama", 8_030_261_248, 131072, (4096, 14336, 32, 32, 8, 128256)),
        ("mixtral-8x22b-instruct", "mistralai", 140_630_071_296, 65536, (6144, 16384, 56, 48, 8, 32768)),
    )
    for name, publisher, parameters, context, shape in rows:
        version = make_stored_version(world.team, name=name, label="a09a3545" + str(context)[:4], host=atlas)
        keys = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
                "vocab_size")  # fmt: skip
        config = version.facts["config"] | dict(zip(keys, shape, strict=True)) | {"max_position_embeddings": context}
        version.facts |= {"parameters": parameters, "weights_bytes": 2 * parameters, "config": config}
        version.parameter_count, version.context_length, version.created_by = parameters, context, world.ana
        version.save()
        version.artifacts.update(size_bytes=2 * parameters)
        facts = {"publisher": publisher, "summary": "Instruction-tuned chat model", "card": CARD.format(name=name)}
        type(version.model).objects.filter(pk=version.model_id).update(created_by=world.ana, **facts)
        world.versions[name.partition("-")[0]] = version
    tuned = make_adapter(world.versions["smollm2"], name="support-tone-v3", host=atlas)
    ModelVersion.objects.filter(pk=tuned.pk).update(parameter_count=134_515_008, context_length=8192)
    world.versions["tuned"] = tuned


def _endpoints(world: World) -> None:
    served = (("chat-prod", "llama", 0), ("code-assist", "qwen2.5", 1), ("support-bot", "smollm2", 2))
    for name, version, gpu in served:
        endpoint = create_endpoint(team=world.team, user=world.ana, version=world.versions[version], name=name)
        world.endpoints[name] = endpoint
        run_on(newest(endpoint), world.hosts["atlas"], gpu=gpu, phase="ready", minutes=60 * 26, port=18100 + gpu)
        use(endpoint, world.team, 240 if gpu == 0 else 60)
        measure(newest(endpoint))
    loading = create_endpoint(team=world.team, user=world.kai, version=world.versions["tuned"], name="tone-canary")
    run_on(newest(loading), world.hosts["borea"], gpu=0, phase="loading", minutes=1, status="starting")
    broken = create_endpoint(team=world.team, user=world.kai, version=world.versions["mixtral"], name="big-chat")
    cause = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.31 GiB. GPU 0 has 47.5 GiB in total."
    fail(newest(broken), world.hosts["borea"], "out_of_memory", cause)
    world.endpoints |= {"tone-canary": loading, "big-chat": broken}
    for name, busy in (("atlas", 4), ("borea", 2), ("dune", 0)):
        host = world.hosts[name]
        loads = [(71, 0.9, 61, 287), (64, 0.88, 58, 251), (38, 0.7, 55, 190), (97, 0.55, 67, 322)][:busy]
        gpus = host.devices.filter(kind="gpu").order_by("index")
        loads += [(0, 0.01, 31, 45)] * (len(gpus) - busy)
        figures = [
            {"uuid": gpu.uuid, "util_percent": load, "memory_used_bytes": int(share * gpu.memory_bytes),
             "temperature_c": heat, "power_w": power}
            for gpu, (load, share, heat, power) in zip(gpus, loads, strict=True)
        ]  # fmt: skip
        make_sample(host, cpu_percent=31, ram_used_bytes=96 * GIB, gpus=figures)


def newest(endpoint: Endpoint) -> Job:
    job: Job = endpoint.replicas.order_by("-pk").first().job  # type: ignore[union-attr]
    return job


def run_on(
    job: Job, host: Host, *, gpu: int | None = None, phase: str = "running", minutes: float = 8,
    status: str = "running", log: str = "", **attempt: Any,
) -> Attempt:  # fmt: skip
    """An open attempt that holds a GPU, or memory of the CPU, and has a log."""
    began = timezone.now() - timedelta(minutes=minutes)
    Job.objects.filter(pk=job.pk).update(status=status, phase=phase, started_at=began, created_at=began)
    times = {"claimed_at": began, "created_at": began, "lease_expires_at": timezone.now() + timedelta(hours=2)}
    ready = {"ready_at": began + timedelta(seconds=48)} if phase == "ready" else {}
    where = {"device_indexes": [] if gpu is None else [gpu]}
    row = Attempt.objects.create(job=job, host=host, epoch=1, phase=phase, **(times | ready | where | attempt))
    devices = host.devices.filter(kind="gpu", index=gpu) if gpu is not None else host.devices.filter(kind="cpu")
    for device in devices:
        Reservation.objects.create(device=device, holder=row.uuid, slot=0, ram_bytes=4 * GIB if gpu is None else 0)
    job.events.update(at=began)
    Reservation.objects.filter(holder=row.uuid).update(created_at=began)
    Replica.objects.filter(job=job).update(created_at=began)
    for number, what in enumerate((f"Placed on {host}", "Started"), start=1):
        JobEvent.objects.create(job=job, what=what, at=began + timedelta(seconds=2 * number), attempt=row)
    append_log(attempt=row, offset=0, data=(log or engine_log(job)).encode())
    return row


def engine_log(job: Job) -> str:
    lines = [f"INFO 11-19 14:02:{second:02} [{job.engine}] {text}" for second, text in (
        (7, f"Starting {job.name}"), (9, "Loading weights: 4 of 4 shards, 14.96 GiB"),
        (31, "GPU KV cache size: 402,112 tokens"), (48, "Application startup complete."),
    )]  # fmt: skip
    return "\n".join([*lines, "WARNING 11-19 14:03:02 [scheduler] queue is 2 deep", ""])


def measure(job: Job) -> None:
    """The engine reported what the planner had estimated, a little off."""
    values = {row.quantity: row.value * 1.03 for row in Estimate.objects.filter(job=job)}
    job.attempts.update(measurements=values)


def fail(job: Job, host: Host, reason: str, cause: str) -> None:
    row = run_on(job, host, phase="loading", minutes=42)
    Reservation.objects.filter(holder=row.uuid).update(released_at=timezone.now())
    end = {"reason": reason, "cause": cause}
    when = timezone.now() - timedelta(minutes=38)
    Attempt.objects.filter(pk=row.pk).update(ended_at=when, exit_code=1, **end)
    Job.objects.filter(pk=job.pk).update(status="failed", finished_at=when, **end)
    JobEvent.objects.create(job=job, what="Failed", detail=cause, tone="bad", attempt=row, at=when)


def succeed(job: Job, host: Host, minutes: float = 9) -> None:
    row = run_on(job, host, minutes=minutes)
    Reservation.objects.filter(holder=row.uuid).update(released_at=timezone.now())
    now = timezone.now()
    Attempt.objects.filter(pk=row.pk).update(ended_at=now, exit_code=0)
    Job.objects.filter(pk=job.pk).update(status="succeeded", finished_at=now)


def use(endpoint: Endpoint, team: Team, count: int) -> None:
    """Requests of the last hour."""
    chance = random.Random(endpoint.pk)
    UsageRecord.objects.bulk_create(
        UsageRecord(
            uuid=uuid.uuid4(), team_id=team.pk, route=endpoint.name, endpoint_id=endpoint.pk, is_stream=True,
            status=500 if chance.random() < 0.01 else 200, prompt_tokens=chance.randint(80, 900),
            completion_tokens=chance.randint(20, 420), ttft_ms=chance.lognormvariate(5, 0.5), duration_ms=2400,
            at=timezone.now() - timedelta(minutes=60 * chance.random()),
        )
        for _ in range(count)
    )  # fmt: skip
