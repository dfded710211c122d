"""What an ended attempt means: the reason, the cause line and the result that are reported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from apps.engines.base import Result
from workers import processes
from workers.inputs import confined
from workers.journal import Journal
from workers.launch import Plan
from workers.problems import Problem, Reason
from workers.progress import Progress
from workers.records import Record, work_folder

KILLED = -9


class Outcome:
    """The body of `finish`, and the files to upload before it."""

    def __init__(self, reason: Reason | None, cause: str, exit_code: int | None, result: Result) -> None:
        self.reason: Reason | None = reason
        self.cause = cause
        self.exit_code = exit_code
        self.result = result

    @classmethod
    def failed(cls, reason: Reason, cause: str, exit_code: int | None = None) -> Outcome:
        return cls(reason, cause, exit_code, Result(ok=False, cause=cause))

    def body(self) -> dict[str, Any]:
        return {
            "exit_code": self.exit_code,
            "reason": self.reason,
            "cause": self.cause,
            "result": self.result.model_dump(mode="json"),
        }

    def output_paths(self, folder: Path) -> list[tuple[str, Path]]:
        """Name and path of each file to upload. Raises Problem for one that is missing or outside."""
        found = []
        for name in self.result.outputs:
            path = confined(work_folder(folder), name)
            if not path.is_file():
                raise Problem("engine_exited", f"The engine ended well but left no {name}.")
            found.append((name, path))
        return found

    def keeps_work(self, folder: Path) -> bool:
        """Whether something produced lies in the attempt's own folder and must stay there."""
        work = work_folder(folder).resolve()
        return any(Path(made.path).resolve().is_relative_to(work) for made in self.result.produced)


def judge(plan: Plan, record: Record, journal: Journal, progress: Progress, folder: Path) -> Outcome:
    """Success is exit code 0 and what the adapter finds; everything else gets a reason and a cause."""
    code = journal.exit_code
    if record.order and record.order != "gone":
        return Outcome.failed(record.order, record.order_cause, code)
    if journal.was_asked:  # by nobody of this worker, or there would be an order
        return Outcome.failed("interrupted", "It was asked to stop from outside, as when a host shuts down.", code)
    if journal.error:
        return Outcome.failed("environment_failed", journal.error, code)
    if code == 0 and plan.spec.kind != "serve":
        result = plan.engine.collect(plan.spec, work_folder(folder))
        if result.ok:
            return Outcome(None, "", code, result)
        reason = result.reason or progress.reason or "engine_exited"
        return Outcome(reason, result.cause or progress.why(), code, result)
    return _failure(record, journal, progress)


def _failure(record: Record, journal: Journal, progress: Progress) -> Outcome:
    code = journal.exit_code
    # Its own group counts for sure, whichever of its processes it was; the host's count only may mean it.
    if journal.memory_kills and progress.reason != "out_of_memory":
        return Outcome.failed("out_of_memory", "The system killed the engine because memory ran out.", code)
    if progress.reason is not None:
        return Outcome.failed(progress.reason, progress.why(), code)
    if journal.disk_full:
        return Outcome.failed("disk_full", progress.why() or "The disk had no room for the log.", code)
    is_own_count = journal.memory_kills is not None
    if code == KILLED and not is_own_count and processes.memory_kills() > record.memory_kills:
        return Outcome.failed("out_of_memory", "The system killed the engine because memory ran out.", code)
    fallback = f"The engine was killed by signal {-code}." if code and code < 0 else f"It ended with {code}."
    return Outcome.failed("engine_exited", progress.why() or fallback, code)
