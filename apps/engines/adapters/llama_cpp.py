"""llama.cpp's llama-server: serves one GGUF file. Not verified on GPU; the binary is the operator's.

No package index carries a server that runs everywhere, so the environment is a folder named in
STACKWEB_ENV_LLAMA_CPP that holds bin/llama-server.
"""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import Field

from apps.engines.base import Command, Engine, Event, Placement, Probe, Result, RunSpec, Strict
from apps.engines.failures import read_failure
from apps.engines.offline import offline_environment

_SPEED = re.compile(r"eval time = .*?([\d.]+) tokens per second")


class Options(Strict):
    context_length: int = Field(
        4096, ge=16, le=10_000_000, title="Context length", description="Shared by the requests at once.",
        json_schema_extra={"unit": "tokens"},
    )  # fmt: skip
    parallel: int = Field(
        2, ge=1, le=256, title="Requests at once", description="Each gets its share of the context.",
        json_schema_extra={"unit": "requests"},
    )  # fmt: skip
    gpu_layers: int = Field(
        999, ge=0, le=999, title="Layers on the GPU", description="999 puts the whole model there.",
        json_schema_extra={"unit": "layers"},
    )  # fmt: skip


class LlamaCpp(Engine):
    name = "llama-cpp"
    title = "llama.cpp"
    version = "b11434"
    kind = "serve"
    Options = Options
    environment = "llama-cpp"
    weights_format = "gguf"

    def command(self, spec: RunSpec, placement: Placement) -> Command:
        options = Options.model_validate(spec.options)
        argv = [placement.bin("llama-server"), "-m", placement.model_path, "--alias", spec.served_name]
        argv += ["--host", "127.0.0.1", "--port", str(placement.port)]
        argv += ["-c", str(options.context_length), "-np", str(options.parallel), "-t", str(placement.cpu_count)]
        argv += ["--metrics", "--slots", "--no-ui", "--jinja"]
        if placement.variant == "cuda":
            argv += ["-ngl", str(options.gpu_layers)]
        return Command(argv=argv, env=offline_environment(placement))

    def probe(self, spec: RunSpec) -> Probe:
        return Probe(path="/health")

    def read_line(self, line: str) -> Event | None:
        if "listening on http" in line:
            return Event(phase="ready")
        if "exiting due to model loading error" in line or "failed to load model" in line:
            return Event(reason="model_not_found", cause=line.strip())
        if speed := _SPEED.search(line):
            return Event(measurements={"tokens_per_second": float(speed[1])})
        return read_failure(line)

    def collect(self, spec: RunSpec, work_dir: Path) -> Result:
        return Result(ok=True)
