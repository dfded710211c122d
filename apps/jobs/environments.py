"""Engine environments on hosts: is one there, and the job that installs it."""

from __future__ import annotations

from dataclasses import dataclass

from apps.accounts.models import Team
from apps.engines.base import RunSpec
from apps.engines.locks import lock_sha256, read_lock
from apps.engines.registry import get_engine
from apps.fleet.models import EngineEnvironment, Host
from apps.jobs.models import Attempt, Job
from apps.jobs.services import submit_job
from apps.jobs.states import JobStatus
from apps.jobs.terms import Terms


def has_environment(host: Host, environment: str, variant: str) -> bool:
    """True when the host holds the environment of today's lock, or a path its operator configured."""
    held = EngineEnvironment.objects.filter(host=host, engine=environment, variant=variant)
    return held.filter(lock_sha256__in=["", lock_sha256(environment, variant)]).exists()


def missing_environment(job: Job, host: Host) -> Job | None:
    """The unfinished job that installs what `job` needs on `host`; None when it is there."""
    environment = get_engine(job.engine).environment
    if environment is None or has_environment(host, environment, job.variant):
        return None
    open_job: Job
    for open_job in Job.objects.open().filter(kind="install", pinned_host=host):
        payload = open_job.spec["payload"]
        if (payload.get("engine"), payload.get("variant")) == (environment, job.variant):
            return open_job
    return _submit_install(job.team, host, environment, job.variant)


def _submit_install(team: Team, host: Host, environment: str, variant: str) -> Job:
    return submit_job(
        team=team,
        user=None,
        kind="install",
        name=f"Install {environment} ({variant}) on {host.name}",
        spec=RunSpec(kind="install", engine="install", payload={"engine": environment, "variant": variant}),
        pinned_host=host,
        terms=Terms(priority=10),
    )


def record_installed(job: Job) -> None:
    """What was just installed counts at once; the host's next inventory says the same, with its size."""
    attempt = job.attempts.order_by("-epoch").select_related("host").first()
    made = next((item for item in job.result.get("produced", []) if item["role"] == "environment"), None)
    if job.status != JobStatus.SUCCEEDED or attempt is None or made is None:
        return
    engine, variant = job.spec["payload"]["engine"], job.spec["payload"]["variant"]
    EngineEnvironment.objects.update_or_create(
        host=attempt.host,
        path=made["path"],
        defaults={"engine": engine, "variant": variant, "lock_sha256": lock_sha256(engine, variant)},
    )


@dataclass(frozen=True)
class Environment:
    """What an attempt ran in, or will; facts that nobody recorded are empty."""

    name: str
    variant: str
    path: str
    lock_sha256: str
    python: str
    packages: int


def environment_used(job: Job, attempt: Attempt | None) -> Environment | None:
    """None for an engine that needs none. An attempt that was not started yet gets today's lock."""
    name = get_engine(job.engine).environment
    if name is None:
        return None
    path = str(attempt.ran.get("env_prefix", "")) if attempt else ""
    today = lock_sha256(name, job.variant)
    sha256 = _lock_of(attempt, path) if attempt and path else today
    python, packages = "", 0
    if sha256 and sha256 == today:
        lock = read_lock(name, job.variant)
        python, packages = lock.python, lock.packages
    return Environment(name, job.variant, path, sha256, python, packages)


def _lock_of(attempt: Attempt, path: str) -> str:
    """Empty for a path that an operator configured, and for one that is gone from the host."""
    held = EngineEnvironment.objects.filter(host=attempt.host, path=path).first()
    return held.lock_sha256 if held else ""
