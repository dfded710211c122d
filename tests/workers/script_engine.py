"""An engine whose "program" is a piece of Python from its options, so that a test says what it does.

Run as a program, this module is the worker with that engine known: `python script_engine.py CONFIG`.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from pathlib import Path
from subprocess import Popen
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from apps.engines.adapters.fake import FakeTrain
from apps.engines.base import Command, Engine, Event, Placement, Probe, Result, RunSpec
from tests.workers import fake_gpus

HEAD_BYTES, TAIL_BYTES = 200_000, 20_000


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid")

    code: str
    outputs: list[str] = []
    files: dict[str, str] = {}
    token: str = ""
    leaves: str = ""


class ScriptEngine(Engine):
    name = "script"
    title = "Script"
    version = "1"
    kind = "train"
    Options = Options
    environment: ClassVar[str | None] = None

    def command(self, spec: RunSpec, placement: Placement) -> Command:
        options = Options.model_validate(spec.options)
        env = {"PORT": str(placement.port), "TOKEN": options.token}
        argv = [sys.executable, "-u", "-c", options.code]
        return Command(argv=argv, env=env, files=options.files, secrets=["TOKEN"])

    def probe(self, spec: RunSpec) -> Probe | None:
        return Probe(path="/health") if spec.kind == "serve" else None

    def read_line(self, line: str) -> Event | None:
        return Event.model_validate(json.loads(line)) if line.startswith("{") else None

    def collect(self, spec: RunSpec, work_dir: Path) -> Result:
        return Result(ok=True, outputs=spec.options["outputs"], data={"left": spec.options.get("leaves", "well")})


class LockedEngine(ScriptEngine):
    name = "locked"
    environment = "vllm"


def get_engine(name: str) -> Engine:
    engines: dict[str, type[Engine]] = {"script": ScriptEngine, "locked": LockedEngine, "fake-train": FakeTrain}
    if name not in engines:
        raise LookupError(f"{name!r}; there is: {', '.join(engines)}")
    return engines[name]()


if __name__ == "__main__":
    if "FAKE_GPUS" in os.environ:
        fake_gpus.install(Path(os.environ["FAKE_GPUS"]))

    from workers import attempts, cli, device_locks, foreign, launch, reports

    device_locks.SHARED_FOLDER = Path(os.environ.get("FAKE_LOCKS", device_locks.SHARED_FOLDER))
    foreign.RELEASE_SECONDS = 0.2

    setattr(launch, "get_engine", get_engine)  # noqa: B010 (an import of that module)
    attempts.STUCK_SECONDS = 0.5
    attempts.TURN_SECONDS = reports.PAUSE_SECONDS = 0.1
    launch.LOG_HEAD_BYTES, launch.LOG_TAIL_BYTES = HEAD_BYTES, TAIL_BYTES
    if "KILL_SHIMS" in os.environ:
        start_shim = launch.start_shim

        def start_and_kill(*given: Any, **named: Any) -> Popen[bytes]:
            shim = start_shim(*given, **named)
            shim.kill()
            return shim

        launch.start_shim = start_and_kill
    if "FAKE_CLOCK_JUMPS" in os.environ:
        jumps = itertools.cycle([-86400, 3600, 0, 86400, -3600])
        real_time = time.time
        time.time = lambda: real_time() + next(jumps)
    sys.exit(cli.main(["run", "--config", *sys.argv[1:]]))
