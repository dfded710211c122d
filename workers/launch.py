"""From a claimed spec to a running shim: everything that is checked and written before an engine starts."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from apps.engines.base import Command, Engine, Placement, RunSpec
from apps.engines.locks import UnknownLock
from apps.engines.registry import get_engine
from workers import checkpoints, device_locks, foreign, journal, processes, shim, systemd
from workers.client import Server
from workers.config import WorkerConfig
from workers.engine_env import engine_environment, masked
from workers.environments import InstallError, find_environment
from workers.gpus import visibility
from workers.inputs import fetch_inputs, write_files
from workers.ports import pick_port
from workers.problems import Problem
from workers.records import Record, work_folder

LOG_HEAD_BYTES = 48 * 1024 * 1024
LOG_TAIL_BYTES = 16 * 1024 * 1024
MAKES_MODEL = ("install", "download")  # for these, model_path is where something will be, if anything
SOCKET_ROOM = 60  # engines put sockets into TMPDIR, and a socket's path ends at 107 characters


@dataclass(frozen=True)
class Plan:
    """A spec that was understood."""

    spec: RunSpec
    engine: Engine


def understand(record: Record) -> Plan:
    """Raises Problem bad_config naming the field that this worker does not understand."""
    try:
        spec = RunSpec.model_validate(record.claim.spec)
        engine = get_engine(spec.engine)
        type(engine).Options.model_validate(spec.options)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise Problem("bad_config", f"{error.title}: {field}: {first['msg']}.") from None
    except LookupError as error:
        raise Problem("bad_config", f"{error}.") from None
    return Plan(spec, engine)


def prepare(
    record: Record, plan: Plan, folder: Path, *, config: WorkerConfig, server: Server, must_end: Callable[[], bool]
) -> None:
    """Writes all that the shim needs into `folder` and fills in the record, which the caller saves.

    Raises Problem when it cannot run here, Ordered when told to end, Fenced when the lease is lost.
    """
    work_dir = work_folder(folder)
    work_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    _check_paths(plan.spec, record)
    prefix = _environment_prefix(plan.engine, record, config.env_root)
    fetch_inputs(server, record.uuid, plan.spec.inputs, work_dir / "inputs", must_end)
    record.checkpoints = plan.engine.checkpoints
    path, resumed = checkpoints.take_over(record, folder, plan.engine.checkpoints) or ("", None)
    given = record.claim.placement.model_dump() | {"port": record.port, "resume_from": str(path)}
    placement = Placement(**given, work_dir=str(work_dir), env_prefix=prefix)
    command = plan.engine.command(plan.spec, placement)
    command.env.update(visibility(placement.devices))
    write_files(command.files, work_dir)
    record.temporary = record.temporary or _temporary(config.state_dir)
    record.memory_kills = processes.memory_kills()
    record.started = _report(command, prefix) | {"resumed": resumed.model_dump() if resumed else None}
    env = engine_environment(
        os.environ,
        config,
        kind=plan.spec.kind,
        uuid=record.uuid,
        work_dir=work_dir,
        temporary=record.temporary,
    )
    launch = {
        "uuid": record.uuid,
        "cgroup": config.use_cgroups,
        "argv": command.argv,
        "env": env | command.env | record.claim.secrets,
        "cwd": str(work_dir),
        "epoch": record.epoch,
        "port": record.port,
        "grace_seconds": record.claim.stop_grace_seconds,
        "log_head_bytes": LOG_HEAD_BYTES,
        "log_tail_bytes": LOG_TAIL_BYTES,
    }
    journal.write_json(folder / shim.LAUNCH, launch)


def _check_paths(spec: RunSpec, record: Record) -> None:
    """Engines take a minute to find out that a path is missing, and then say it badly."""
    if spec.kind in MAKES_MODEL:
        return
    for what, path in (
        ("model", record.claim.placement.model_path),
        ("adapter", record.claim.placement.adapter_path),
    ):
        if path and not Path(path).exists():
            raise Problem("model_not_found", f"The {what} is not on this host: {path} does not exist.")


def _environment_prefix(engine: Engine, record: Record, root: Path) -> str:
    if engine.environment is None:
        return sys.prefix
    variant = record.claim.placement.variant
    try:
        prefix = find_environment(engine.environment, variant, root)
    except (InstallError, UnknownLock) as error:
        raise Problem("environment_failed", str(error)) from None
    if prefix is None or not prefix.exists():
        raise Problem(
            "environment_failed", f"The environment {engine.environment} ({variant}) is not installed on this host."
        )
    return str(prefix)


def _temporary(state_dir: Path) -> str:
    """A private TMPDIR, in the state folder unless that would make its paths too long for sockets."""
    folder = state_dir / "tmp"
    folder.mkdir(exist_ok=True, mode=0o700)
    is_short = len(str(folder)) <= SOCKET_ROOM - len("/stackweb-xxxxxxxx")
    return tempfile.mkdtemp(prefix="stackweb-", dir=folder if is_short else None)


def _report(command: Command, prefix: str) -> dict[str, object]:
    """What the server stores as exactly what ran, without secrets; the pid comes with the start."""
    secrets = [command.env[name] for name in command.secrets if command.env.get(name)]
    return {
        "argv": [masked(argument, secrets) for argument in command.argv],
        "env": {
            name: "********" if name in command.secrets else masked(value, secrets)
            for name, value in command.env.items()
        },
        "files": {name: masked(text, secrets) for name, text in command.files.items()},
        "env_prefix": prefix,
    }


def choose_port(record: Record, plan: Plan, taken: set[int]) -> int:
    """0 for an engine that does not listen."""
    leased = record.claim.placement.port
    return pick_port(leased, taken) if plan.spec.kind == "serve" or leased else 0


def hold_devices(record: Record, state_dir: Path, held_uuids: Iterable[str], must_end: Callable[[], bool]) -> list[int]:
    """Locks the attempt's GPUs and waits until nobody else is on them. Raises Problem device_busy, Ordered."""
    if not record.claim.placement.devices:
        return []
    uuids = foreign.uuids_of(record.claim.placement.devices)
    locks = device_locks.lock_gpus(uuids, state_dir)
    try:
        foreign.wait_until_free(uuids, held_uuids, must_end)
    except BaseException:
        device_locks.release(locks)
        raise
    return locks


def start_shim(folder: Path, locks: Iterable[int], *, use_cgroups: bool) -> subprocess.Popen[bytes]:
    """The shim in a session of its own: it outlives this agent, and holds the locks of its GPUs."""
    (folder / shim.STOP).unlink(missing_ok=True)
    scope, bus = (systemd.scope(), systemd.bus()) if use_cgroups else ((), {})
    with (folder / "shim.err").open("wb") as errors:
        return subprocess.Popen(
            # -P: an attempt's folder is never searched for Python modules.
            [*scope, sys.executable, "-P", "-m", "workers.shim", str(folder)],
            env={"PYTHONPATH": str(Path(__file__).parent.parent), "PATH": os.environ.get("PATH", os.defpath)} | bus,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            pass_fds=tuple(locks),
            start_new_session=True,
        )


def was_started(record: Record, folder: Path) -> bool:
    """Whether an engine may have been started from here although no journal says so."""
    return record.is_launched and not (folder / shim.LAUNCH).exists()


def has_shim(folder: Path) -> bool:
    """Whether a shim holds the attempt, also one whose journal is missing or cannot be read."""
    with (folder / shim.LOCK).open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def shim_error(folder: Path) -> str:
    """The last line of what a shim said that could not even begin; empty for one that was killed."""
    try:
        lines = (folder / "shim.err").read_text(errors="replace").split("\n")
    except OSError:
        lines = []
    return next((line for line in reversed(lines) if line.strip()), "")
