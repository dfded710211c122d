"""The shape of an engine: one small file turns a typed spec into a command and reads what it prints.

Everything here is pure: no Django, no network, no clock. The server calls `command()` with named
placeholders to show a preview before submit; the worker calls it again with the real placement and
reports what it ran.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

Kind = Literal["serve", "train", "evaluate", "benchmark", "convert", "download", "install", "tokenise"]
Variant = Literal["cpu", "cuda"]
Phase = Literal["installing", "downloading", "loading", "ready", "running"]
# A user's failure never reruns by itself; see apps/jobs/reasons.py for the sentences.
CauseReason = Literal[
    "out_of_memory",
    "disk_full",
    "engine_exited",
    "bad_config",
    "model_not_found",
    "gated_model",
    "environment_failed",
    "not_a_number",
    "port_taken",
]


class Strict(BaseModel):
    """An unknown field is a mistake to name, not to swallow."""

    model_config = ConfigDict(extra="forbid")


class Input(Strict):
    """A file the worker fetches from the server into `<work_dir>/inputs/<name>` before launch."""

    name: str
    sha256: str
    size_bytes: int


class ModelRef(Strict):
    """A model version as an engine needs it. Paths are filled in by the server for the chosen host."""

    name: str
    version_id: str = ""
    path: str = ""
    adapter_path: str = ""  # a LoRA adapter on top of `path`
    precision: str = ""


class RunSpec(Strict):
    """What was asked of an engine: stored with the job, sent to the worker at claim."""

    kind: Kind
    engine: str
    model: ModelRef | None = None
    served_name: str = ""
    options: dict[str, Any] = Field(default_factory=dict)  # validated by Engine.Options
    inputs: list[Input] = Field(default_factory=list)
    # Facts the adapter needs beyond its own options: tasks of a suite, the source of a download ...
    payload: dict[str, Any] = Field(default_factory=dict)

    @property
    def trusts_code(self) -> bool:
        """Whether the engine may run Python of the model's own folder: set where the model needs it and its team's
        admins granted it, and looked at again when a host claims the job."""
        return self.payload.get("trusts_code") is True


class Placement(Strict):
    """Where it runs. In a preview every field holds a named placeholder."""

    variant: Variant = "cpu"
    devices: list[int] = Field(default_factory=list)  # GPU indices; empty on the CPU device
    port: int = 0
    model_path: str = "<model_path>"
    adapter_path: str = ""
    work_dir: str = "<work_dir>"
    env_prefix: str = "<env_prefix>"  # the engine environment; binaries are in <env_prefix>/bin
    cpu_count: int = 1
    ram_bytes: int = 0  # RAM reserved for this attempt
    resume_from: str = ""  # a whole checkpoint in `work_dir`, of an attempt that was lost

    def bin(self, name: str) -> str:
        return f"{self.env_prefix}/bin/{name}"


class Command(Strict):
    """Exactly what runs: argv (never a shell), environment on top of a small allow-list, files to write."""

    argv: list[str]
    env: dict[str, str] = Field(default_factory=dict)
    files: dict[str, str] = Field(default_factory=dict)  # path relative to work_dir -> text
    secrets: list[str] = Field(default_factory=list)  # names in env that must be masked in reports


class Probe(Strict):
    """Readiness: ready when GET http://127.0.0.1:<port><path> answers 200."""

    path: str


class Event(Strict):
    """What one output line told us; every field is optional and only set fields count."""

    phase: Phase | None = None
    progress_done: float | None = None
    progress_total: float | None = None
    progress_unit: str = ""
    step: float | None = None
    metrics: dict[str, float] = Field(default_factory=dict)  # needs `step`
    # Facts held against estimates: weights_bytes, kv_cache_tokens, kv_cache_bytes, max_concurrency,
    # load_seconds, peak_memory_bytes, tokens_per_second ...
    measurements: dict[str, float] = Field(default_factory=dict)
    cause: str = ""  # the line a person should read when this run fails
    reason: CauseReason | None = None


class Produced(Strict):
    """A folder or file a finished run left on its host, registered as an artifact location."""

    role: Literal["weights", "adapter", "checkpoint", "environment"]
    path: str
    format: str = "safetensors"
    size_bytes: int
    sha256: str = ""  # of the manifest: sorted "<sha256>  <relative path>" lines
    files: list[dict[str, Any]] = Field(default_factory=list)  # {path, size_bytes, sha256}
    facts: dict[str, Any] = Field(default_factory=dict)  # config.json facts, parameter count ...
    is_in_place: bool = False  # found on the host, where it stays; not Stackweb's to delete


class Result(Strict):
    """What a finished run produced; `ok` False with a cause when the promised files are not there."""

    ok: bool
    reason: CauseReason | None = None
    cause: str = ""
    produced: list[Produced] = Field(default_factory=list)
    outputs: list[str] = Field(default_factory=list)  # files in work_dir the worker uploads
    data: dict[str, Any] = Field(default_factory=dict)  # scores, last losses ...


class Engine(ABC):
    """One engine. Subclasses are stateless; `read_line` keeps no memory between lines."""

    name: ClassVar[str]
    title: ClassVar[str]
    version: ClassVar[str]
    kind: ClassVar[Kind]
    Options: ClassVar[type[BaseModel]]
    environment: ClassVar[str | None]  # name of the locked environment, None when it needs none
    weights_format: ClassVar[Literal["safetensors", "gguf"]] = "safetensors"  # that it loads
    verified_on_gpu: ClassVar[bool] = False
    checkpoints: ClassVar[str] = ""  # folder in work_dir with what a rerun goes on from; empty: it cannot

    @abstractmethod
    def command(self, spec: RunSpec, placement: Placement) -> Command: ...

    def probe(self, spec: RunSpec) -> Probe | None:
        return None

    @abstractmethod
    def read_line(self, line: str) -> Event | None: ...

    @abstractmethod
    def collect(self, spec: RunSpec, work_dir: Path) -> Result: ...
