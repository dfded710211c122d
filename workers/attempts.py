"""One attempt's life on this host, in a thread of its own.

    claimed -> prepared -> shim started -> watched -> ended -> told -> forgotten

Every step can be the first one after the agent was killed: what is on disk says where to go on.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import subprocess
import threading
from pathlib import Path
from typing import Protocol

from workers import cgroups, checkpoints, device_locks, journal, launch, processes, shim
from workers.client import Fenced, Refused, Server, Unreachable
from workers.config import WorkerConfig
from workers.journal import FULL, Journal
from workers.logfile import append_tail
from workers.logs import LogLines
from workers.outcome import Outcome, judge
from workers.ports import answers
from workers.problems import Ordered, Problem
from workers.progress import Progress
from workers.records import Order, Record, forget
from workers.reports import Reports

logger = logging.getLogger(__name__)
TURN_SECONDS = 0.5
STUCK_SECONDS = 60.0  # of KILL without an end
CAUSES: dict[Order, str] = {
    "cancelled_by_user": "Cancelled by a person.",
    "interrupted": "The worker was stopped.",
}


class Host(Protocol):
    """What an attempt asks of the agent that runs it."""

    def ports(self) -> set[int]:
        """Of the attempts here, so that none is given twice."""

    def held_uuids(self) -> set[str]:
        """The attempts here."""

    def report_inventory(self) -> None:
        """At once and whatever comes of it: something is not as the server believes."""


class Attempt:
    """`order()`, `leave()` and `heartbeat()` may be called from any thread; the rest is its own."""

    def __init__(self, record: Record, folder: Path, config: WorkerConfig, server: Server, host: Host) -> None:
        self.record = record
        self.folder = folder
        self.config = config
        self.server = server
        self.host = host
        self.process: subprocess.Popen[bytes] | None = None
        self.keeper: processes.Held | None = None
        self.locks: list[int] = []  # of its GPUs
        self.killing_at = 0.0  # since when the agent itself kills what a dead shim left
        self.guard = threading.Lock()
        self.is_told = False
        self.is_forgotten = False
        self.lost = ""  # why it ended without an exit code
        self.progress = Progress(record.claim.spec.get("kind", "train"), processes.boot_clock())
        self.progress.is_up = self.progress.is_up or record.is_up
        self.reports = Reports(server, record, folder, self.progress)
        self.nudge = self.reports.nudge
        self.thread = threading.Thread(target=self.run, name=f"attempt-{record.uuid[:8]}", daemon=True)

    def heartbeat(self) -> dict[str, object]:
        self._measure_memory()
        lease = self.record.lease
        row: dict[str, object] = {"uuid": lease.uuid, "epoch": lease.epoch, "lease_token": lease.token}
        row |= {"port": self.record.port, "is_stuck": self._is_stuck()} | self.progress.heartbeat()
        claim, placement = self.record.claim, self.record.claim.placement
        # For a server that was restored from before the claim.
        return row | {"job": claim.job, "devices": placement.devices, "ram_bytes": placement.ram_bytes}

    def _is_stuck(self) -> bool:
        """Something of it outlives KILL: in the driver, or on a file system that does not answer."""
        found = journal.read(self.folder)
        since = self.killing_at or (found.killing_at if found is not None and found.state != "exited" else 0.0)
        return since > 0 and processes.boot_clock() - since > STUCK_SECONDS

    def _measure_memory(self) -> None:
        """Once it answers: on the CPU device memory is RAM, and the largest sum over its processes is kept."""
        serves_on_cpu = self.record.claim.placement.variant == "cpu" and self.record.claim.spec.get("kind") == "serve"
        found = journal.read(self.folder) if serves_on_cpu and self.progress.is_up else None
        if found is not None and found.state != "exited":
            self.progress.note_memory(processes.memory_bytes(found.shim_pid))

    def order(self, order: Order, cause: str = "") -> None:
        """Has the attempt ended; the first order counts, only "gone" comes on top of another."""
        with self.guard:
            had = self.record.order
            if self.is_told or had in (order, "gone") or (had and order != "gone"):
                return
            self.record.order = order
            self.record.order_cause = cause or CAUSES.get(order, "")
        try:
            self._save()
        except OSError as error:  # on a full disk it ends all the same
            logger.warning("Attempt %s: the order to end it could not be noted: %s", self.record.uuid, error)
        logger.info("Attempt %s is to end: %s", self.record.uuid, order)
        self._ask_shim()
        self.nudge.set()

    def leave(self) -> None:
        """The agent ends: so does the attempt, and what cannot be told now is told at the next start."""
        self.reports.is_leaving = True
        self.order("interrupted")
        self.nudge.set()

    def run(self) -> None:
        try:
            self._run()
        finally:
            with self.guard:
                self.is_forgotten = True
                if self.keeper is not None:
                    self.keeper.close()
            device_locks.release(self.locks)

    def _run(self) -> None:
        try:
            outcome = self._live()
            if outcome is not None:
                # Before the server knows of what was produced, so that nothing removes it after.
                self.record.keeps_work = outcome.keeps_work(self.folder)
                self._save()
                if outcome.reason == "environment_failed":
                    # Before the end is told, so that whoever tries again has it installed first.
                    self.host.report_inventory()
                self.reports.finish(outcome)
                self.is_told = True
                logger.info("Attempt %s ended: %s", self.record.uuid, outcome.reason or "succeeded")
        except Fenced as refusal:
            logger.warning("Attempt %s is not ours any more: %s", self.record.uuid, refusal.detail)
            self._end_processes()
        except Unreachable:
            logger.warning("The end of attempt %s is told at the next start.", self.record.uuid)
            return
        with self.guard:
            self.is_forgotten = True
            keeps_work = checkpoints.keep(self.record, self.folder) or self.record.keeps_work
            forget(self.folder, self.record.temporary, keeps_work)

    def _live(self) -> Outcome | None:
        """Until nothing of the attempt is alive; None when the server has given it up."""
        try:
            return self._launch_and_watch()
        except Problem as problem:
            return Outcome.failed(problem.reason, problem.cause)
        except Ordered:
            order = self.record.order
            return Outcome.failed(order, self.record.order_cause) if order and order != "gone" else None
        except (Fenced, Unreachable):
            raise
        except Exception as error:
            is_full = isinstance(error, OSError) and error.errno in FULL
            logger.error("Attempt %s meets trouble: %s", self.record.uuid, error, exc_info=not is_full)
            self._end_processes()
            if is_full:
                return Outcome.failed("disk_full", f"The disk is full: {error}.")
            return Outcome.failed("server_error", f"The worker failed: {type(error).__name__}: {error}.")

    def _launch_and_watch(self) -> Outcome | None:
        plan = launch.understand(self.record)
        if journal.read(self.folder) is None and not launch.was_started(self.record, self.folder):
            self._launch(plan)
        lines = LogLines(self.folder, launch.LOG_HEAD_BYTES, lambda line: self._take_line(plan, line))
        while (ended := self._ended()) is None:
            self.nudge.wait(TURN_SECONDS)
            self.nudge.clear()
            self._turn(plan, lines)
        if self.record.order == "gone":
            return None
        while not lines.read():
            pass
        self.reports.rest(ended)
        if self.lost and not self.record.order:
            return Outcome.failed("worker_lost", self.lost)
        return self._with_outputs(judge(plan, self.record, ended, self.progress, self.folder))

    def _launch(self, plan: launch.Plan) -> None:
        if self.record.order:
            raise Ordered
        self.record.port = launch.choose_port(self.record, plan, self.host.ports())
        launch.prepare(
            self.record,
            plan,
            self.folder,
            config=self.config,
            server=self.server,
            must_end=self._must_end,
        )
        others = self.host.held_uuids() - {self.record.uuid}
        self.locks = launch.hold_devices(self.record, self.config.state_dir, others, self._must_end)
        self.record.is_launched = True
        self._save()
        if self.record.order:
            raise Ordered
        self.process = launch.start_shim(self.folder, self.locks, use_cgroups=self.config.use_cgroups)

    def _must_end(self) -> bool:
        return bool(self.record.order)

    def _turn(self, plan: launch.Plan, lines: LogLines) -> None:
        """One round of watching."""
        if self.record.order:
            self._ask_shim()
        found = journal.read(self.folder)
        if self.record.order == "gone" or found is None or not found.engine_pid:
            return
        lines.read()
        self._probe(plan)
        self._check_times(found)
        is_untold = self.record.started is not None
        try:
            self.reports.live(found)
        except Fenced as refusal:
            self.order("gone", refusal.detail)
        if is_untold and self.record.started is None:
            self._save()

    def _ended(self) -> Journal | None:
        """The journal once nothing of the attempt is alive. Raises Problem when the shim never began."""
        has_left = self.process is None or self.process.poll() is not None
        found = journal.read(self.folder)
        if found is None:
            if not has_left or launch.has_shim(self.folder):
                return None
            was_started, said = launch.was_started(self.record, self.folder), launch.shim_error(self.folder)
            if was_started or not said:
                why = "Its journal is gone." if was_started else "The process to watch it was killed at once."
                return self._lose(Journal("", self.record.epoch, 0, 0), why)
            full = "No space left" in said
            raise Problem("disk_full" if full else "environment_failed", f"It could not be started: {said}")
        if found.state == "exited":
            return found
        if found.boot_id not in ("", processes.boot_id()):
            return self._lose(found, "The host was restarted.", is_same_boot=False)
        with self.guard:
            is_kept = self._keeper(found).is_alive()
        if is_kept or launch.has_shim(self.folder):
            return None
        last = journal.read(self.folder)
        if last is not None and last.state == "exited":  # it ended well between the two looks
            return last
        return self._lose(found, "The process that watched it was killed.")

    def _keeper(self, found: Journal) -> processes.Held:
        """Under the guard: two threads ask, and a closed descriptor's number may soon be another's."""
        if self.keeper is None:
            self.keeper = processes.Held(found.shim_pid, found.shim_ticks)
        return self.keeper

    def _lose(self, found: Journal, why: str, *, is_same_boot: bool = True) -> Journal:
        """Ends what is left. A GPU is free only when nothing is alive, so this does not give up."""
        self.lost = why
        if is_same_boot:
            self.killing_at = processes.boot_clock()
            engine = found.engine_pid if found.boot_id else 0  # a pid of a boot that is not known says nothing
            while not processes.end_attempt(self.record.uuid, engine, found.engine_ticks, found.cgroup):
                logger.error("Processes of attempt %s cannot be killed; still trying.", self.record.uuid)
            self.killing_at = 0.0
        if found.cgroup:
            cgroups.remove_named(Path(found.cgroup), self.record.uuid)
        with contextlib.suppress(OSError):  # a full disk has no room for the log's end
            append_tail(self.folder)
        return found

    def _end_processes(self) -> None:
        """For an attempt that is given up: its shim ends everything, and that is waited for."""
        with contextlib.suppress(Problem):
            while self._may_live() and self._ended() is None:
                self._ask_shim()
                self.nudge.wait(TURN_SECONDS)
                self.nudge.clear()

    def _may_live(self) -> bool:
        was_started = self.process is not None or launch.was_started(self.record, self.folder)
        return was_started or journal.read(self.folder) is not None

    def _ask_shim(self) -> None:
        found = journal.read(self.folder)
        if found is None or found.boot_id not in ("", processes.boot_id()):
            return
        with self.guard:
            if self.is_forgotten:  # a new file would hold up the removal of its folder
                return
            with contextlib.suppress(OSError):
                (self.folder / shim.STOP).touch()
            self._keeper(found).send(signal.SIGTERM)

    def _take_line(self, plan: launch.Plan, line: str) -> None:
        try:
            event = plan.engine.read_line(line)
        except Exception:  # a line the adapter trips over must not end a run of days
            logger.exception("The adapter %s cannot read a line of attempt %s", plan.engine.name, self.record.uuid)
            event = None
        self.progress.read_line(line, event, processes.boot_clock())

    def _probe(self, plan: launch.Plan) -> None:
        if plan.spec.kind != "serve" or self.progress.phase == "ready":
            return
        probe = plan.engine.probe(plan.spec)
        if probe is not None and answers(self.record.port, probe.path):
            self.progress.set_phase("ready")

    def _check_times(self, found: Journal) -> None:
        claim = self.record.claim
        now = processes.boot_clock()
        if not self.progress.is_up:
            if now - found.started_at > claim.start_timeout_seconds:
                self.order("timed_out", f"It did not start within {claim.start_timeout_seconds:g} s.")
            return
        if not self.record.is_up:
            self.record.is_up = True
            self.progress.moved_at = now
            self._save()
        stall = claim.stall_seconds
        if stall and self.progress.kind != "serve" and now - self.progress.moved_at > stall:
            self.order("stalled", f"No progress for {stall:g} s.")

    def _with_outputs(self, outcome: Outcome) -> Outcome:
        try:
            for name, path in outcome.output_paths(self.folder):
                self.reports.output(name, path)
        except Fenced:
            raise
        except Refused as refusal:
            return Outcome.failed("result_refused", f"A result was refused: {refusal.detail}", outcome.exit_code)
        return outcome

    def _save(self) -> None:
        with self.guard:
            if not self.is_forgotten:
                self.record.save(self.folder)
