"""Shapes on the wire: of the worker protocol (docs/worker-protocol.md) and of the REST API."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated, Any

from ninja import Schema
from pydantic import Field

from apps.accounts.moments import Moment
from apps.fleet.schemas import MAX_GPUS
from apps.jobs.reasons import Reason

Finite = Annotated[float, Field(allow_inf_nan=False)]


class LeaseIn(Schema):
    epoch: int = Field(ge=0, lt=2**31)
    lease_token: str = Field(max_length=64)


class ClaimIn(Schema):
    epoch: int
    boot_id: str = ""  # empty from workers that do not say it: the inventory's


class PlacementOut(Schema):
    variant: str
    devices: list[int]
    port: int
    model_path: str
    adapter_path: str
    cpu_count: int
    ram_bytes: int


class KeptIn(Schema):
    """Attempts that have ended, whose work folders this host still has; those of a job that is not over stay."""

    kept: list[uuid.UUID] = Field([], max_length=1000)


class LostAttemptOut(Schema):
    uuid: uuid.UUID
    epoch: int


class ClaimOut(Schema):
    job: str = ""  # public id
    lease_token: str
    lease_seconds: int
    spec: dict[str, Any]
    placement: PlacementOut
    stop_grace_seconds: int
    start_timeout_seconds: int
    stall_seconds: int
    secrets: dict[str, str] = {}  # environment of this attempt alone; never stored by the server, never reported
    resume_from: list[LostAttemptOut] = []  # of the same job on this host: whose checkpoints count


class ResumedIn(Schema):
    """The checkpoint that an attempt goes on from: its step, and the epoch of the attempt that saved it."""

    epoch: int = Field(ge=1)
    step: int = Field(ge=0)


class StartedIn(Schema):
    argv: list[str]
    env: dict[str, str] = {}
    files: dict[str, str] = {}
    env_prefix: str = ""
    pid: int = 0
    resumed: ResumedIn | None = None  # from zero
    isolation: str = ""  # cgroup | process_group: how everything of it is found at its end


class BeatIn(LeaseIn):
    uuid: uuid.UUID
    phase: str | None = Field(None, max_length=12)
    port: int | None = Field(None, ge=0, le=65_535)
    progress_done: Finite | None = None
    progress_total: Finite | None = None
    progress_unit: str = ""
    measurements: dict[str, Finite] = {}
    is_stuck: bool = False  # something of it outlives KILL
    # Only for a server whose database was restored from before the attempt began.
    job: str = Field("", max_length=40)
    devices: list[Annotated[int, Field(ge=0)]] = Field([], max_length=MAX_GPUS)
    ram_bytes: int = Field(0, ge=0, lt=2**63)


class HeartbeatIn(Schema):
    """Each entry is a BeatIn, and is read by itself: a wrong one is refused alone, and the others' leases go on."""

    attempts: list[dict[str, Any]] = Field(max_length=1000)  # each is a transaction


class PointIn(Schema):
    name: str
    step: Finite
    value: Finite
    at: Moment


class PointsIn(Schema):
    points: list[PointIn] = Field(max_length=5000)  # an agent sends fewer; this many take about a second


class FinishIn(LeaseIn):
    exit_code: int | None = None
    reason: Reason | None = None
    cause: str = ""
    measurements: dict[str, Finite] = {}  # those since the last heartbeat, or all
    result: dict[str, Any] = {}


class TermsIn(Schema, extra="forbid"):
    """What every job may be asked. In `options`, {"from": "job-12", "path": "data.final_loss"} in place of a
    value takes it from the result of that job, which then comes first."""

    after: list[str] = []  # jobs that must succeed first; where one fails, this one fails too
    priority: int = 0  # the higher the sooner
    time_limit_seconds: int | None = None  # of each attempt
    stall_seconds: int | None = None  # without progress for longer it counts as stalled
    spread: bool = False  # the emptiest host that fits; otherwise the fullest, so that whole hosts stay free


class JobOut(Schema):
    """A job as the API shows it; times in UTC, progress from 0 to 1."""

    id: str
    kind: str
    name: str
    engine: str
    team: str
    status: str
    state: str  # the word people see
    phase: str
    reason: str
    reason_sentence: str
    cause: str
    wait_reason: str
    progress: float | None
    progress_done: float | None
    progress_total: float | None
    progress_unit: str
    host: str | None  # of its newest attempt
    created_by: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    url: str


class AttemptOut(Schema):
    uuid: uuid.UUID
    epoch: int
    host: str
    devices: list[int]  # GPU indices on the host; empty on the CPU device
    phase: str
    is_unknown: bool  # its host is silent past the lease: it may still run, and its devices stay held
    lease_expires_at: datetime | None
    exit_code: int | None
    reason: str
    cause: str
    measurements: dict[str, float]
    ran: dict[str, Any]
    created_at: datetime
    ended_at: datetime | None


class JobEventOut(Schema):
    at: datetime
    what: str
    detail: str
    actor: str


class EnvironmentOut(Schema):
    name: str
    variant: str
    path: str  # on the host of the newest attempt; empty before it starts
    lock_sha256: str  # empty: of a path that an operator configured


class JobDetailOut(JobOut):
    spec: dict[str, Any]
    preview: dict[str, Any]
    result: dict[str, Any]
    after: list[str]
    followers: list[str]  # jobs that wait for this one
    gpus: int  # 0: it runs on the CPU
    gpu_memory_bytes: int  # needed on each GPU; 0: a whole one, whatever its size
    spread: bool
    pinned_host: str | None
    environment: EnvironmentOut | None  # of the newest attempt, else as it would start now
    references: dict[str, dict[str, str]]  # options that are taken from the results of other jobs
    priority: int
    time_limit_seconds: int | None
    stall_seconds: int | None  # null: the kind's
    stalled_at: datetime | None  # no progress since
    not_before: datetime | None  # it pauses before it starts again
    losses: int  # how often it was queued again since a person last asked for it
    schedule: str | None
    attempts: list[AttemptOut]
    events: list[JobEventOut]


class JobsIn(Schema):
    """What a list of jobs is narrowed to; empty narrows nothing."""

    status: str = ""
    kind: str = ""
    engine: str = ""
    team: str = ""  # slug
    owner: str = ""  # username
    host: str = ""  # any attempt of it was there
    q: str = ""


class BulkIn(Schema, extra="forbid"):
    action: str  # cancel | retry
    ids: list[str] = Field(max_length=1000)


class BulkResultOut(Schema):
    id: str
    ok: bool
    detail: str  # why it was refused


class BulkOut(Schema):
    done: int
    items: list[BulkResultOut]


class JobPage(Schema):
    items: list[JobOut]
    next: str | None


class LogOut(Schema):
    attempt: uuid.UUID | None
    offset: int
    next_offset: int
    size_bytes: int
    text: str


class OutputOut(Schema):
    """A result file that an attempt uploaded."""

    id: str
    name: str
    size_bytes: int
    sha256: str
    media_type: str  # by its name
    epoch: int  # of the attempt
    created_at: datetime
    is_stored: bool  # its bytes are still on this server


class OutputPage(Schema):
    items: list[OutputOut]
    next: str | None


class SeriesOut(Schema):
    epoch: int  # of the attempt that reported it
    name: str
    steps: list[float]
    values: list[float]
