"""The worker on a host that exists only in the rig: fake GPUs, a boot id from a file, witnessed engines.

    python -m tests.faults.fake_host join|run ...      (the arguments of stackweb-worker)

Only what the machine says of itself is replaced; agent, shim, journal and protocol are the product's.
FAULTS_HOST, FAULTS_HOST_FOLDER, FAULTS_GPUS and FAULTS_WITNESS say which host this is.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from apps.engines.adapters import fake
from apps.engines.base import Command, Engine, Placement, RunSpec
from apps.engines.registry import get_engine
from tests.faults.fake_machine import fake_boot_id, replace
from workers import device_locks, gpus, processes

NAMES = ("FAULTS_HOST", "FAULTS_HOST_FOLDER", "FAULTS_WITNESS", "PYTHONPATH")
GPU_BYTES = 24 * 1024**3
FLOOD_LINES = 1_000_000
# A log is cut as in the product, but sooner.
LOG_HEAD_BYTES, LOG_TAIL_BYTES = 4 * 1024**2, 1024**2


def fake_gpus() -> list[dict[str, Any]]:
    folder, count = os.environ["FAULTS_HOST_FOLDER"], int(os.environ["FAULTS_GPUS"])
    common = {
        "name": "Fake GPU", "memory_bytes": GPU_BYTES, "driver": "999.0", "cuda": "13.0", "power_limit_w": None,
        "mig_profile": "", "is_split": False, "links": [],
    }  # fmt: skip
    # Workers lock their GPUs by UUID for the whole machine, on which several rigs may run.
    uuids = [f"GPU-{uuid5(NAMESPACE_URL, f'{folder}/{index}')}" for index in range(count)]
    return [{"index": index, "uuid": uuid} | common for index, uuid in enumerate(uuids)]


class Witnessed:
    """A fake engine whose program is the witnessed one."""

    def command(self, spec: RunSpec, placement: Placement) -> Command:
        made: Command = super().command(spec, placement)  # type: ignore[misc]
        argv = ["tests.faults.witness_engine" if part == fake.PROGRAM else part for part in made.argv]
        env = {name: os.environ[name] for name in NAMES}
        if spec.options["log_lines"] >= FLOOD_LINES:  # so many mean a flood, which is not lines
            argv[argv.index("--log-lines") + 1] = "0"
            env["FAULTS_FLOOD"] = "1"
        env["FAULTS_DEVICES"] = ",".join(map(str, placement.devices))
        return made.model_copy(update={"argv": argv, "env": made.env | env})


class WitnessedTrain(Witnessed, fake.FakeTrain):
    pass


class WitnessedServe(Witnessed, fake.FakeServe):
    pass


def witnessed_engine(name: str) -> Engine:
    own = {"fake-train": WitnessedTrain, "fake-serve": WitnessedServe}
    return own[name]() if name in own else get_engine(name)


def start_process(argv: list[str], *, env: dict[str, str], **more: Any) -> subprocess.Popen[bytes]:
    """The shim as the agent starts it, on this fake machine."""
    argv = ["tests.faults.fake_shim" if part == "workers.shim" else part for part in argv]
    return subprocess.Popen(argv, env=env | {name: os.environ[name] for name in NAMES}, **more)


def main() -> int:
    replace(gpus, "list_gpus", fake_gpus)
    replace(gpus, "sample_gpus", list)
    replace(processes, "boot_id", fake_boot_id)
    replace(device_locks, "SHARED_FOLDER", Path(os.environ["FAULTS_HOST_FOLDER"]))  # each its own machine
    from workers import cli, foreign, launch  # after the replacements, which some modules import by name

    replace(foreign, "processes_on", lambda uuids: [])  # the driver of fake GPUs names nobody
    replace(launch, "get_engine", witnessed_engine)
    replace(launch, "LOG_HEAD_BYTES", LOG_HEAD_BYTES)
    replace(launch, "LOG_TAIL_BYTES", LOG_TAIL_BYTES)
    replace(launch, "subprocess", SimpleNamespace(**vars(subprocess) | {"Popen": start_process}))
    return cli.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
