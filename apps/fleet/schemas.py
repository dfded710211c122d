"""What a host reports; sizes in bytes (docs/worker-protocol.md)."""

from __future__ import annotations

from datetime import datetime

from ninja import Schema


class CpuIn(Schema):
    model: str = ""
    cores: int = 1


class DiskIn(Schema):
    path: str = ""
    total_bytes: int = 0
    free_bytes: int = 0


class GpuIn(Schema):
    index: int
    uuid: str
    name: str
    memory_bytes: int
    driver: str = ""
    cuda: str = ""


class EnvironmentIn(Schema):
    engine: str
    variant: str
    lock_sha256: str = ""
    path: str
    size_bytes: int = 0
    state: str = "ready"


class InventoryIn(Schema):
    agent_version: str = ""
    boot_id: str = ""
    hostname: str = ""
    booted_at: datetime | None = None
    platform: str = ""
    architecture: str = ""
    isolation: str = ""  # cgroup | process_group
    warnings: list[str] = []  # what this host cannot do, and what would help
    python: str = ""
    cpu: CpuIn
    ram_bytes: int
    disk: DiskIn
    gpus: list[GpuIn] = []
    environments: list[EnvironmentIn] = []
    models_dir: str = ""


class GpuLoadIn(Schema):
    uuid: str
    util_percent: float | None = None
    memory_used_bytes: int | None = None
    temperature_c: float | None = None
    power_w: float | None = None


class TelemetryIn(Schema):
    at: datetime
    cpu_percent: float
    ram_used_bytes: int
    disk_free_bytes: int = 0
    gpus: list[GpuLoadIn] = []


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
