"""The fake engine in three flavours, for tests and the fault rig: a real program that computes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from apps.engines.base import Command, Engine, Event, Placement, Probe, Produced, Result, RunSpec, Strict
from apps.engines.folder import manifest, manifest_sha256, visible_files
from apps.engines.lines import read_own_line

PROGRAM = "apps.engines.programs.fake_run"


class Options(Strict):
    seconds: float = Field(
        1.0, ge=0, le=86_400, title="Seconds", description="Time to load or to work.", json_schema_extra={"unit": "s"}
    )
    steps: int = Field(10, ge=1, le=100_000, title="Steps", json_schema_extra={"unit": "steps"})
    exit_code: int = Field(0, ge=0, le=255, title="Exit code", description="0 means success.")
    fail_with: str = Field("", max_length=400, title="Fail with", description="The cause it prints before it ends.")
    ignore_term: bool = Field(False, title="Ignore SIGTERM", description="Ends only when killed.")
    spawn_children: int = Field(0, ge=0, le=16, title="Children", description="Processes it starts beside itself.")
    leave_children: bool = Field(False, title="Leave children behind", description="Ends before they do.")
    log_lines: int = Field(0, ge=0, le=10_000_000, title="Log lines", json_schema_extra={"unit": "lines"})


class TrainOptions(Options):
    save_steps: int = Field(
        0, ge=0, le=100_000, title="Checkpoint every", description="0: none.", json_schema_extra={"unit": "steps"}
    )
    save_seconds: float = Field(
        0.0, ge=0, le=86_400, title="Save time", description="Of each checkpoint.", json_schema_extra={"unit": "s"}
    )


class _Fake(Engine):
    version = "1"
    Options: ClassVar[type[Options]] = Options
    environment = None

    def command(self, spec: RunSpec, placement: Placement) -> Command:
        options = self.Options.model_validate(spec.options)
        argv = [placement.bin("python"), "-m", PROGRAM, self.kind, "--work-dir", placement.work_dir]
        for name, value in options.model_dump(exclude={"exit_code"}).items():
            flag = f"--{name.replace('_', '-')}"
            if value is True:
                argv.append(flag)
            elif value is not False and value != "":
                argv += [flag, str(value)]
        exit_code = options.exit_code or (1 if options.fail_with else 0)
        return Command(argv=[*argv, "--exit-code", str(exit_code), *self.more(spec, placement)])

    def more(self, spec: RunSpec, placement: Placement) -> list[str]:
        return []

    def read_line(self, line: str) -> Event | None:
        return read_own_line(line)


class FakeServe(_Fake):
    name = "fake-serve"
    title = "Fake server"
    kind = "serve"

    def more(self, spec: RunSpec, placement: Placement) -> list[str]:
        return ["--port", str(placement.port), "--served-name", spec.served_name]

    def probe(self, spec: RunSpec) -> Probe:
        return Probe(path="/health")

    def collect(self, spec: RunSpec, work_dir: Path) -> Result:
        return Result(ok=True)


class FakeTrain(_Fake):
    name = "fake-train"
    title = "Fake training"
    kind = "train"
    Options = TrainOptions
    checkpoints = "output"

    def more(self, spec: RunSpec, placement: Placement) -> list[str]:
        return ["--resume-from", placement.resume_from] if placement.resume_from else []

    def collect(self, spec: RunSpec, work_dir: Path) -> Result:
        folder = work_dir / self.checkpoints
        if not (folder / "adapter_model.safetensors").is_file():
            return Result(ok=False, cause="The fake training left no adapter")
        files = manifest(folder, [name for name in visible_files(folder) if "/" not in name])
        produced = Produced(
            role="adapter",
            path=str(folder),
            size_bytes=sum(file["size_bytes"] for file in files),
            sha256=manifest_sha256(files),
            files=files,
            facts={"fake": True},
        )
        return Result(ok=True, produced=[produced], data={"fake": True})


class FakeEval(_Fake):
    name = "fake-eval"
    title = "Fake evaluation"
    kind = "evaluate"

    def more(self, spec: RunSpec, placement: Placement) -> list[str]:
        model = f"{spec.model.name}{spec.model.adapter_path}" if spec.model else ""
        tasks = ",".join(spec.payload.get("tasks", ["fake"]))
        return ["--tasks", tasks, "--limit", str(spec.payload.get("limit") or 0), "--model", model]

    def collect(self, spec: RunSpec, work_dir: Path) -> Result:
        path = work_dir / "fake_results.json"
        if not path.is_file():
            return Result(ok=False, cause="The fake evaluation left no scores")
        samples = sorted(found.name for found in work_dir.glob("samples_*_fake.jsonl"))
        return Result(ok=True, outputs=samples, data=json.loads(path.read_text()) | {"fake": True})
