"""The worker protocol over HTTP (docs/worker-protocol.md), with patience for a network in trouble."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from uuid import UUID

import httpx
from pydantic import BaseModel, Field

from apps.engines.base import Variant
from workers.processes import boot_id

PROTOCOL = "1"
TRIES = 3
FIRST_PAUSE_SECONDS = 0.2
LOOPBACK = ("127.0.0.1", "::1", "localhost")
# What the server may take to answer, beyond its usual: to keep a result file, and to register scores.
WRITING_SECONDS, WRITTEN_PER_SECOND, REGISTERING_SECONDS = 60.0, 10e6, 120.0
TRANSIENT = (429, 500, 502, 503, 504)


class Unreachable(Exception):
    """No answer, or one that may change by itself: the server is busy, or does not know this host now."""


class Refused(Exception):
    """The server understood and said no; `detail` is its sentence."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class Fenced(Refused):
    """The lease is not ours any more (409, or 404 for the attempt); with `expected_offset`, the log has a gap."""

    def __init__(self, detail: str, expected_offset: int | None = None) -> None:
        super().__init__(409, detail)
        self.expected_offset = expected_offset


class Lease(NamedTuple):
    """What every write about an attempt carries."""

    uuid: str
    epoch: int
    token: str

    def query(self) -> dict[str, str]:
        return {"epoch": str(self.epoch), "lease_token": self.token}


class Assignment(BaseModel):
    uuid: str
    epoch: int
    claimed: bool
    cancel: bool


class Assignments(BaseModel):
    """What this host should run, and which of the asked-for folders belong to a job that may go on from them."""

    attempts: list[Assignment]
    kept: list[str] = []


class LostAttempt(BaseModel):
    """An earlier attempt of the same job on this host, whose checkpoints count."""

    uuid: UUID
    epoch: int


class Resumed(BaseModel):
    """Where an attempt began: at the checkpoint of this step, of the attempt of this epoch."""

    epoch: int
    step: int


class ClaimPlacement(BaseModel):
    variant: Variant = "cpu"
    devices: list[int] = []
    port: int = 0
    model_path: str = ""
    adapter_path: str = ""
    cpu_count: int = 1
    ram_bytes: int = 0


class Claim(BaseModel):
    job: str = ""  # public id
    lease_token: str
    lease_seconds: float
    spec: dict[str, Any]  # a RunSpec; judged at launch, so that a wrong one can be reported
    placement: ClaimPlacement
    stop_grace_seconds: float
    start_timeout_seconds: float
    stall_seconds: float | None = None
    secrets: dict[str, str] = Field({}, repr=False)  # environment of this attempt alone
    resume_from: list[LostAttempt] = []


class PeerFiles(BaseModel):
    """What a peer's ticket opens on this host."""

    path: str
    files: frozenset[str]


class Joined(BaseModel):
    class Host(BaseModel):
        id: str | int
        name: str

    host_token: str
    host: Host
    queue: str
    broker_url: str = ""
    broker_prefix: str = ""
    lease_seconds: float
    heartbeat_seconds: float


def is_loopback(url: str) -> bool:
    return (urlsplit(url).hostname or "") in LOOPBACK


class Server:
    """One connection pool to the server; safe to share between threads."""

    def __init__(self, url: str, token: str, timeout_seconds: float = 15.0) -> None:
        self.timeout_seconds = timeout_seconds
        self.http = httpx.Client(
            base_url=url.rstrip("/") + "/api/worker/v1/",
            headers={"Stackweb-Protocol": PROTOCOL, "Authorization": f"Bearer {token}"},
            timeout=timeout_seconds,
            trust_env=not is_loopback(url),  # a proxy never stands before this very machine
        )

    def close(self) -> None:
        self.http.close()

    def call(self, method: str, path: str, tries: int = TRIES, **request: Any) -> httpx.Response:
        """Raises Unreachable after `tries`, Fenced on 409 and Refused on another refusal."""
        pause = FIRST_PAUSE_SECONDS
        for left in reversed(range(tries)):
            try:
                answer = self.http.request(method, path, **request)
                if answer.status_code == 401 and path != "join":
                    raise Unreachable("The server does not accept this host's token")
                if answer.status_code not in TRANSIENT:
                    return _accepted(answer)
                said = _problem(answer).get("detail")
                trouble = f"{self.http.base_url.host} answers {answer.status_code}{f': {said}' if said else ''}"
            except httpx.TransportError as error:
                trouble = f"{self.http.base_url.host} cannot be reached: {error}"
            if left:
                time.sleep(pause)
                pause *= 2
        raise Unreachable(trouble)

    def join(self, name: str, inventory: dict[str, Any]) -> Joined:
        body = {"name": name, "inventory": inventory}
        return Joined.model_validate(self.call("POST", "join", json=body, tries=1).json())

    def assignments(self, kept: Sequence[str] = ()) -> Assignments:
        answer = self.call("GET", "assignments", params={"kept": list(kept)}, tries=1)
        return Assignments.model_validate(answer.json())

    def claim(self, uuid: str, epoch: int) -> Claim:
        answer = self.call("POST", f"attempts/{uuid}/claim", json={"epoch": epoch, "boot_id": boot_id()})
        return Claim.model_validate(answer.json())

    @contextmanager
    def input(self, sha256: str, uuid: str) -> Iterator[Iterator[bytes]]:
        """The bytes of an input, in pieces. Errors as in `call`, also halfway."""
        try:
            with self.http.stream("GET", f"inputs/{sha256}", params={"attempt": uuid}) as answer:
                if answer.status_code in TRANSIENT:
                    raise Unreachable(f"The server answers {answer.status_code}")
                if answer.is_error:
                    answer.read()
                yield _accepted(answer).iter_bytes()
        except httpx.TransportError as error:
            raise Unreachable(f"The connection broke while reading an input: {error}") from error

    def started(self, lease: Lease, body: dict[str, Any]) -> None:
        self.call("POST", f"attempts/{lease.uuid}/started", params=lease.query(), json=body)

    def heartbeat(self, attempts: list[dict[str, Any]]) -> dict[str, str]:
        """uuid -> run, cancel, gone, or refused for an entry that the server could not read."""
        answer = self.call("POST", "heartbeat", json={"attempts": attempts}, tries=1)
        return {row["uuid"]: row["answer"] for row in answer.json()["attempts"]}

    def logs(self, lease: Lease, offset: int, data: bytes) -> int:
        """Bytes the server holds now; after a gap, the offset it wants instead."""
        params = {"offset": str(offset), **lease.query()}
        try:
            answer = self.call(
                "POST",
                f"attempts/{lease.uuid}/logs",
                params=params,
                content=data,
                headers={"Content-Type": "application/octet-stream"},
                tries=1,
            )
        except Fenced as refusal:
            if refusal.expected_offset is None:
                raise
            return refusal.expected_offset
        return int(answer.json()["offset"])

    def metrics(self, lease: Lease, points: list[dict[str, Any]]) -> None:
        path = f"attempts/{lease.uuid}/metrics"
        self.call("POST", path, params=lease.query(), json={"points": points}, tries=1)

    def output(self, lease: Lease, name: str, path: Path) -> None:
        """The server answers once it has written and hashed the file, which takes its time for a large one."""
        answers_within = WRITING_SECONDS + path.stat().st_size / WRITTEN_PER_SECOND
        with path.open("rb") as content:
            self.call(
                "POST",
                f"attempts/{lease.uuid}/outputs",
                params={"name": name, **lease.query()},
                content=content,
                headers={"Content-Type": "application/octet-stream"},
                timeout=httpx.Timeout(self.timeout_seconds, read=answers_within),
                tries=1,
            )

    def finish(self, lease: Lease, body: dict[str, Any]) -> None:
        body = {"epoch": lease.epoch, "lease_token": lease.token, **body}
        timeout = httpx.Timeout(self.timeout_seconds, read=REGISTERING_SECONDS)
        self.call("POST", f"attempts/{lease.uuid}/finish", json=body, timeout=timeout)

    def inventory(self, found: dict[str, Any]) -> None:
        self.call("POST", "inventory", json=found)

    def peer_files(self, ticket: str) -> PeerFiles:
        """Raises Refused for a ticket that opens nothing on this host."""
        return PeerFiles.model_validate(self.call("POST", "peer-files", tries=1, json={"ticket": ticket}).json())

    def leave(self) -> None:
        """The last call: the host's token ends with it."""
        self.call("POST", "leave", json={})

    def telemetry(self, samples: list[dict[str, Any]]) -> None:
        """Oldest first."""
        self.call("POST", "telemetry", json={"samples": samples}, tries=1)


def _problem(answer: httpx.Response) -> dict[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _sentence(answer: httpx.Response) -> str:
    """What a person reads of a refusal, with its fields."""
    problem = _problem(answer)
    said = str(problem.get("detail") or problem.get("title") or f"The server answers {answer.status_code}")
    fields = [f" ({error.get('field')}: {error.get('message')})" for error in problem.get("errors") or []]
    return said + "".join(fields)


def _accepted(answer: httpx.Response) -> httpx.Response:
    if answer.is_success:
        return answer
    problem, detail = _problem(answer), _sentence(answer)
    is_unknown_attempt = answer.status_code == 404 and "/attempts/" in answer.url.path
    if answer.status_code == 409 or is_unknown_attempt:
        raise Fenced(detail, problem.get("expected_offset"))
    raise Refused(answer.status_code, detail)
