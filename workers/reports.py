"""Tells the server about one attempt, in any order and as often as the network needs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from workers import processes
from workers.cgroups import Isolation
from workers.client import Fenced, Refused, Server, Unreachable
from workers.journal import Journal
from workers.logs import LogUpload
from workers.outcome import Outcome
from workers.progress import MAX_POINTS, Progress
from workers.records import Record

logger = logging.getLogger(__name__)
PAUSE_SECONDS = 2.0  # after the server could not be reached
T = TypeVar("T")


class Reports:
    """Every method raises Fenced when the lease is lost; a plain refusal is logged and given up."""

    def __init__(self, server: Server, record: Record, folder: Path, progress: Progress) -> None:
        self.server = server
        self.record = record
        self.folder = folder
        self.progress = progress
        self.log = LogUpload(server, record.lease, folder)
        self.is_log_refused = False
        self.is_leaving = False  # the agent ends: give up on a server that cannot be reached
        self.nudge = threading.Event()
        self.next_at = 0.0

    def live(self, found: Journal) -> None:
        """What is new of start, log and metrics; later, when the server cannot be reached now."""
        if processes.boot_clock() < self.next_at:
            return
        try:
            self._start(found)
            self._log()
            self._points()
        except Unreachable:
            self.next_at = processes.boot_clock() + PAUSE_SECONDS

    def rest(self, found: Journal) -> None:
        """Everything that is still untold about an attempt that has ended."""
        if found.engine_pid:
            self._patiently(lambda: self._start(found))
        is_whole = False
        while not is_whole:
            is_whole = self._patiently(self._log)
        while self.progress.points:
            self._patiently(self._points)

    def output(self, name: str, path: Path) -> None:
        """Raises Refused too: a result that did not arrive is no success."""
        self._patiently(lambda: self.server.output(self.record.lease, name, path))

    def finish(self, outcome: Outcome) -> None:
        try:
            # The last heartbeat may be older than the last thing the engine measured.
            measured = {"measurements": dict(self.progress.measurements)}
            self._patiently(lambda: self.server.finish(self.record.lease, outcome.body() | measured))
        except Fenced:
            raise
        except Refused as refusal:
            logger.error("The server refuses the end of attempt %s: %s", self.record.uuid, refusal.detail)
            is_told = outcome.reason == "result_refused"
            self._without_result(outcome.cause if is_told else f"The result was refused: {refusal.detail}")

    def _without_result(self, cause: str) -> None:
        try:
            failed = Outcome.failed("result_refused", cause)
            self._patiently(lambda: self.server.finish(self.record.lease, failed.body()))
        except Fenced:
            raise
        except Refused:  # an older server knows no such reason
            known = Outcome.failed("server_error", cause)
            self._patiently(lambda: self.server.finish(self.record.lease, known.body()))

    def _start(self, found: Journal) -> None:
        if self.record.started is not None:
            isolation: Isolation = "cgroup" if found.cgroup else "process_group"
            body = self.record.started | {"pid": found.engine_pid, "isolation": isolation}
            self._unless_refused("start", lambda: self.server.started(self.record.lease, body))
            self.record.started = None

    def _log(self) -> bool:
        """True when the server has all of it, or wants no more."""
        if self.is_log_refused:
            return True
        is_whole = False

        def send() -> None:
            nonlocal is_whole
            is_whole = self.log.send()

        self.is_log_refused = not self._unless_refused("log", send)
        return is_whole or self.is_log_refused

    def _points(self) -> None:
        points = self.progress.points[:MAX_POINTS]
        if points:
            self._unless_refused("metrics", lambda: self.server.metrics(self.record.lease, points))
            del self.progress.points[: len(points)]

    def _unless_refused(self, what: str, tell: Callable[[], None]) -> bool:
        try:
            tell()
        except Fenced:
            raise
        except Refused as refusal:
            logger.error("The server refuses the %s of %s: %s", what, self.record.uuid, refusal.detail)
            return False
        return True

    def _patiently(self, tell: Callable[[], T]) -> T:
        """Until the server has it. Raises Unreachable only when the agent is about to leave."""
        while True:
            try:
                return tell()
            except Unreachable:
                if self.is_leaving:
                    raise
                self.nudge.wait(PAUSE_SECONDS)
                self.nudge.clear()
