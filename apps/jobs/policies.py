"""What Stackweb does by itself about a job of each kind: how long it waits, what it runs again, when it stops.

Pure: one table, and the one decision made with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from apps.jobs.reasons import INFRASTRUCTURE, UNCOUNTED, Reason
from apps.jobs.states import JobStatus

MINUTE, DAY = 60, 24 * 60 * 60
TIME_LIMIT_RANGE = (MINUTE, 90 * DAY)
STALL_RANGE = (MINUTE, 7 * DAY)


@dataclass(frozen=True)
class Policy:
    """Of one kind of job. Times are in seconds."""

    start_timeout_seconds: int = 30 * MINUTE
    stall_seconds: int = 10 * MINUTE  # 0: it has no progress to watch
    on_stall: Literal["show", "end"] = "end"
    is_talk_progress: bool = False  # it has long steps without a count, so that any output counts
    reruns: frozenset[Reason] = INFRASTRUCTURE
    max_losses: int = 3  # one more, and it is held for a person
    # A server that once answered is started again; the pauses grow, and end with the losses.
    restarts: frozenset[Reason] = frozenset()
    backoff_seconds: Sequence[int] = (0,)
    settled_seconds: int = 0  # at work that long, its earlier losses are forgotten; 0: never


_QUIET = Policy(stall_seconds=30 * MINUTE, is_talk_progress=True)
_FETCH = Policy(
    stall_seconds=30 * MINUTE,  # one large file may take long
    is_talk_progress=True,
    reruns=INFRASTRUCTURE | {Reason.STALLED},  # a connection that hangs is nobody's fault
)
POLICIES: dict[str, Policy] = {
    "serve": Policy(
        stall_seconds=0,
        restarts=frozenset({Reason.ENGINE_EXITED}),
        backoff_seconds=(10, 60, 300),
        settled_seconds=10 * MINUTE,
    ),
    "train": Policy(),
    "evaluate": Policy(),
    "benchmark": Policy(),
    "convert": Policy(stall_seconds=30 * MINUTE, is_talk_progress=True, on_stall="show"),
    "download": _FETCH,
    "install": _FETCH,
    "tokenise": _QUIET,
}


@dataclass(frozen=True)
class Ending:
    """How one attempt ended, and what its job had been through before."""

    kind: str
    reason: str  # not empty: it did not succeed
    losses: int  # counted before this one
    was_ready: bool = False  # the job has answered or worked in some attempt
    ready_seconds: float = 0  # this attempt


@dataclass(frozen=True)
class Verdict:
    """What becomes of the job; `backoff_seconds` is how long it stays out of the queue's sight."""

    status: JobStatus
    losses: int
    backoff_seconds: int = 0


def judge(ending: Ending) -> Verdict:
    """Failed, queued again, or held for a person. Out of memory and the like are the user's: failed."""
    policy = POLICIES[ending.kind]
    if ending.reason in UNCOUNTED:
        return Verdict(JobStatus.QUEUED, ending.losses)
    restarts = ending.reason in policy.restarts and ending.was_ready
    if ending.reason not in policy.reruns and not restarts:
        return Verdict(JobStatus.FAILED, ending.losses)
    is_settled = 0 < policy.settled_seconds <= ending.ready_seconds
    losses = 1 if is_settled else ending.losses + 1
    if losses > policy.max_losses:
        return Verdict(JobStatus.HELD, losses)
    pauses = policy.backoff_seconds if restarts else (0,)
    return Verdict(JobStatus.QUEUED, losses, pauses[min(losses, len(pauses)) - 1])
