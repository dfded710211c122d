"""Small make_*() functions: valid rows with the least said. Append yours at the end."""

from __future__ import annotations

import itertools
from typing import Any

from django.utils import timezone

from apps.accounts.models import Membership, Role, Team, User
from apps.accounts.services import create_api_token
from apps.catalog.models import Model, ModelVersion
from apps.fleet.models import Device, Host, TelemetrySample
from apps.jobs.models import Attempt, Job
from apps.serving.models import Endpoint, Replica

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
    fields = {"last_seen_at": timezone.now(), "cpu_count": 4, "ram_bytes": ram_gib * GIB} | fields
    host = Host.objects.create(name=name or f"host{number}", **fields)
    Device.objects.create(host=host, kind="cpu", uuid="cpu", name="CPU", memory_bytes=ram_gib * GIB)
    for index in range(gpus):
        uuid = f"GPU-{number}-{index}"
        Device.objects.create(host=host, kind="gpu", index=index, uuid=uuid, name="RTX 4090", memory_bytes=24 * GIB)
    return host


def make_sample(host: Host, *, cpu_percent: float = 25, **fields: Any) -> TelemetrySample:
    gpus = [
        {"uuid": gpu.uuid, "util_percent": 50, "memory_used_bytes": 12 * GIB, "temperature_c": 60, "power_w": 200}
        for gpu in host.devices.filter(kind="gpu")
    ]
    fields = {"at": timezone.now(), "ram_used_bytes": 4 * GIB, "gpus": gpus} | fields
    return TelemetrySample.objects.create(host=host, cpu_percent=cpu_percent, **fields)


def make_job(team: Team, *, kind: str = "evaluate", name: str = "", **fields: Any) -> Job:
    """A queued job of the fake engine; `status="failed"` and the like also set its end."""
    if fields.get("status") in ("succeeded", "failed", "cancelled"):
        fields.setdefault("finished_at", timezone.now())
    fields.setdefault("spec", {"kind": kind, "engine": "fake"})
    return Job.objects.create(team=team, kind=kind, name=name or f"job{next(_numbers)}", engine="fake", **fields)


def make_attempt(job: Job, host: Host, **fields: Any) -> Attempt:
    return Attempt.objects.create(job=job, host=host, **({"epoch": job.attempts.count() + 1} | fields))


def make_model_version(team: Team, name: str = "", **fields: Any) -> ModelVersion:
    model = Model.objects.create(team=team, name=name or f"model{next(_numbers)}", source="hub")
    return ModelVersion.objects.create(team=team, model=model, label="v1", **fields)


def make_endpoint(team: Team, name: str = "", *, version: ModelVersion | None = None, **job: Any) -> Endpoint:
    """An endpoint with one replica; keyword arguments go to the replica's job."""
    name = name or f"endpoint{next(_numbers)}"
    version = version or make_model_version(team)
    endpoint = Endpoint.objects.create(team=team, name=name, version=version, engine="fake")
    Replica.objects.create(endpoint=endpoint, job=make_job(team, kind="serve", name=name, **job))
    return endpoint
