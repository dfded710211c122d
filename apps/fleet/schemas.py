"""What a host reports; sizes in bytes (docs/worker-protocol.md)."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any

from ninja import Schema
from pydantic import BaseModel, Field, field_validator, model_validator

from apps.accounts.moments import Moment

MAX_GPUS = 256  # of one host, slices counted
Count = Annotated[int, Field(ge=0)]


class CpuIn(Schema):
    model: str = ""
    cores: Count = 1


class DiskIn(Schema):
    path: str = ""
    total_bytes: Count = 0
    free_bytes: Count = 0


class LinkIn(Schema):
    uuid: str
    kind: str  # nvlink | xgmi | pcie


class GpuIn(Schema):
    index: Count
    uuid: str
    name: str
    memory_bytes: Count
    driver: str = ""
    cuda: str = ""
    power_limit_w: float | None = None
    mig_profile: str = ""  # of a slice
    is_split: bool = False  # MIG is on: work runs on its slices, which are listed too
    links: list[LinkIn] = []


class EnvironmentIn(Schema):
    engine: str
    variant: str
    lock_sha256: str = ""
    path: str
    size_bytes: Count = 0
    state: str = "ready"


class InventoryIn(Schema):
    agent_version: str = ""
    boot_id: str = ""
    hostname: str = ""
    booted_at: Moment | None = None
    platform: str = ""
    architecture: str = ""
    isolation: str = ""  # cgroup | process_group
    warnings: list[str] = []  # what this host cannot do, and what would help
    python: str = ""
    cpu: CpuIn
    ram_bytes: Count
    disk: DiskIn
    gpus: list[GpuIn] = Field(default=[], max_length=MAX_GPUS)
    environments: list[EnvironmentIn] = []
    models_dir: str = ""
    # host:port at which other hosts copy models from this one; empty: they do not
    peer_address: str = Field("", max_length=260, pattern=r"^((\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):\d{1,5})?$")

    @field_validator("gpus")
    @classmethod
    def _each_its_own(cls, gpus: list[GpuIn]) -> list[GpuIn]:
        """Two of one name would be one row, and "cpu" is the row of the CPU."""
        named = Counter(gpu.uuid for gpu in gpus)
        if wrong := sorted(uuid for uuid, count in named.items() if count > 1 or uuid in ("", "cpu")):
            raise ValueError(f"must each have a UUID of its own, and none “cpu”: {', '.join(wrong)!r}")
        return gpus


class ProcessIn(Schema):
    pid: int
    memory_bytes: int


class GpuLoadIn(Schema):
    uuid: str
    util_percent: float | None = None
    memory_used_bytes: int | None = None
    temperature_c: float | None = None
    power_w: float | None = None
    sm_clock_mhz: float | None = None
    memory_clock_mhz: float | None = None
    throttle: list[str] = []  # why clocks are low: heat, power_cap, power_brake, hardware
    processes: list[ProcessIn] = []


class SampleIn(BaseModel):
    at: Moment
    cpu_percent: float
    ram_used_bytes: int
    disk_free_bytes: int = 0
    gpus: list[GpuLoadIn] = Field(default=[], max_length=MAX_GPUS)


class TelemetryIn(BaseModel):
    samples: list[SampleIn] = Field(min_length=1, max_length=500)

    @model_validator(mode="before")
    @classmethod
    def _one_alone(cls, body: Any) -> Any:
        """Workers of before send a single sample, bare."""
        return {"samples": [body]} if isinstance(body, dict) and "samples" not in body else body


class JoinIn(Schema):
    name: str
    inventory: InventoryIn


class HostRef(Schema):
    id: str
    name: str


class JoinOut(Schema):
    host_token: str
    host: HostRef
    queue: str
    broker_url: str
    broker_prefix: str
    lease_seconds: int
    heartbeat_seconds: int
