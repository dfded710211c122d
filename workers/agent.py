"""The agent: finds work, keeps the leases alive, and looks after the attempts of this host."""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import time
from pathlib import Path
from queue import Empty
from types import FrameType
from typing import Literal

from workers import checkpoints
from workers.adoption import describe, find_records
from workers.attempts import Attempt
from workers.client import Assignment, Fenced, Refused, Server, Unreachable
from workers.config import WorkerConfig
from workers.doorbell import start_doorbell
from workers.journal import FULL
from workers.observer import Observer
from workers.outcome import Outcome
from workers.peer_server import start_peer_server
from workers.records import Order, Record
from workers.tasks import BELL

logger = logging.getLogger(__name__)
LEAVE_SECONDS = 60.0
CHANGES_INVENTORY = ("install", "download")
# What becomes of the attempts when the worker is told to stop; "leave": they end, and the host is gone for good.
AtExit = Literal["go on", "end", "leave"]


class AlreadyRuns(Exception):
    """Another worker holds this state folder."""


class Agent:
    def __init__(self, config: WorkerConfig, at_exit: AtExit = "go on") -> None:
        self.config = config
        self.at_exit = at_exit
        self.server = Server(config.url, config.host_token)
        self.folder = config.state_dir / "attempts"
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.attempts: dict[str, Attempt] = {}
        self.observer = Observer(config, self.server)
        self.is_asked_to_stop = False
        self.is_reachable = True

    def run(self) -> None:
        """Until TERM, INT or HUP. Raises AlreadyRuns, ConfigError."""
        lock = hold_state(self.config.state_dir)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        self.adopt()
        self.observer.peer_address = start_peer_server(self.server)
        self.observer.start()
        start_doorbell(self.config)
        logger.info("Host %s works for %s.", self.config.host_name, self.config.url)
        sweep_at = heartbeat_at = 0.0
        while not self.is_asked_to_stop:
            now = time.monotonic()
            if now >= heartbeat_at:
                self.heartbeat()
                heartbeat_at = now + self.config.heartbeat_seconds
            if now >= sweep_at:
                self.sweep()
                sweep_at = now + self.config.sweep_seconds
            if self._rang(max(0.05, min(sweep_at, heartbeat_at) - time.monotonic())):
                sweep_at = 0.0
        if self.attempts and self.at_exit == "go on":
            self.let_go()
        self.leave()
        os.close(lock)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.is_asked_to_stop = True
        BELL.put("")

    def _rang(self, timeout_seconds: float) -> bool:
        """Waits; True when somebody rang. Many rings at once count as one."""
        try:
            BELL.get(timeout=timeout_seconds)
        except Empty:
            return False
        while not BELL.empty():
            BELL.get()
        return True

    def adopt(self) -> None:
        for path, record in find_records(self.folder):
            logger.info("Attempt %s %s.", record.uuid, describe(path))
            self._begin(record, path)

    def sweep(self) -> None:
        """Compares what the server believes with what is here."""
        self.forget_ended()
        kept = checkpoints.kept_uuids(self.folder, self.attempts)
        try:
            answer = self.server.assignments(kept)
        except (Unreachable, Refused) as trouble:
            self._note_reachable(False, str(trouble))
            return
        self._note_reachable(True)
        checkpoints.remove(self.folder, set(kept) - set(answer.kept))
        for assignment in answer.attempts:
            held = self.attempts.get(assignment.uuid)
            if held is None:
                self.take(assignment)
            elif held.record.epoch != assignment.epoch:
                held.order("gone", f"The server speaks of epoch {assignment.epoch}.")
            elif assignment.cancel:
                held.order("cancelled_by_user")

    def take(self, assignment: Assignment) -> None:
        try:
            claim = self.server.claim(assignment.uuid, assignment.epoch)
        except Fenced:
            return  # settled meanwhile
        except (Unreachable, Refused, ValueError) as trouble:
            logger.warning("Attempt %s could not be claimed: %s", assignment.uuid, trouble)
            return
        order: Order = "cancelled_by_user" if assignment.cancel else ""
        record = Record(uuid=assignment.uuid, epoch=assignment.epoch, claim=claim, order=order)
        path = self.folder / assignment.uuid
        try:
            path.mkdir(exist_ok=True, mode=0o700)
            record.save(path)
        except OSError as error:
            self._refuse(record, error)
            return
        logger.info("Attempt %s: %s with %s.", record.uuid, claim.spec.get("kind"), claim.spec.get("engine"))
        self._begin(record, path)

    def _refuse(self, record: Record, error: OSError) -> None:
        """Without a record nothing is started."""
        full = error.errno in FULL
        outcome = Outcome.failed("disk_full" if full else "server_error", f"{self.folder}: {error.strerror}.")
        try:
            self.server.finish(record.lease, outcome.body())
        except (Unreachable, Refused) as trouble:
            logger.warning("Attempt %s could not be refused: %s", record.uuid, trouble)

    def _begin(self, record: Record, path: Path) -> None:
        attempt = Attempt(record, path, self.config, self.server, self)
        self.attempts[record.uuid] = attempt
        attempt.thread.start()

    def held_uuids(self) -> set[str]:
        return set(self.attempts)

    def report_inventory(self) -> None:
        try:
            self.observer.report_inventory()
        except (Unreachable, Refused) as trouble:
            logger.warning("The inventory could not be reported: %s", trouble)
            self.observer.look_now()

    def ports(self) -> set[int]:
        return {attempt.record.port for attempt in tuple(self.attempts.values()) if attempt.record.port}

    def forget_ended(self) -> None:
        for uuid, attempt in list(self.attempts.items()):
            if not attempt.thread.is_alive():
                del self.attempts[uuid]
                if attempt.record.claim.spec.get("kind") in CHANGES_INVENTORY:
                    self.observer.look_now()

    def heartbeat(self) -> None:
        self.forget_ended()
        if not self.attempts:
            return
        try:
            answers = self.server.heartbeat([attempt.heartbeat() for attempt in self.attempts.values()])
        except (Unreachable, Refused) as trouble:
            self._note_reachable(False, str(trouble))
            return
        for uuid, answer in answers.items():
            attempt = self.attempts.get(uuid)
            if attempt is not None and answer == "cancel":
                attempt.order("cancelled_by_user")
            elif attempt is not None and answer == "gone" and attempt.thread.is_alive():
                attempt.order("gone", "The server has given it up.")
            elif answer == "refused":
                logger.warning("The server could not read the state of attempt %s; its lease was not renewed.", uuid)

    def _note_reachable(self, is_reachable: bool, trouble: str = "") -> None:
        """One line in the log for each change, not for each try."""
        if is_reachable != self.is_reachable:
            self.is_reachable = is_reachable
            if is_reachable:
                logger.info("The server answers again.")
            else:
                logger.warning("%s. Attempts go on; trying again.", trouble)

    def let_go(self) -> None:
        """Ends this process at once, as a kill would: what is on disk says where the next start goes on.

        Threads of attempts run to the last moment. In an interpreter that shuts down they would meet
        errors, take them for failures, and end engines.
        """
        logger.info("Stopped. %d attempts go on; the next start takes them over.", len(self.attempts))
        logging.shutdown()
        os._exit(0)

    def leave(self) -> None:
        """Ends the attempts and tells the server, for a limited time."""
        for attempt in self.attempts.values():
            attempt.leave()
        deadline = time.monotonic() + LEAVE_SECONDS
        heartbeat_at = time.monotonic() + self.config.heartbeat_seconds
        while self.attempts and time.monotonic() < deadline:
            next(iter(self.attempts.values())).thread.join(0.2)
            if time.monotonic() >= heartbeat_at:
                self.heartbeat()
                heartbeat_at = time.monotonic() + self.config.heartbeat_seconds
            self.forget_ended()
        self.observer.stop()
        if self.at_exit == "leave":
            self._say_goodbye()
        self.server.close()

    def _say_goodbye(self) -> None:
        """Only when nothing is alive: the server frees the GPUs at this word."""
        if self.attempts:
            logger.error("Not leaving: attempts are still alive: %s.", ", ".join(self.attempts))
            return
        self.observer.thread.join(LEAVE_SECONDS)
        try:
            self.server.leave()
        except (Unreachable, Refused) as trouble:
            logger.error("The server did not hear that this host leaves: %s", trouble)
            return
        checkpoints.remove(self.folder, checkpoints.kept_uuids(self.folder, ()))
        logger.info("Host %s has left. To come back it joins with a fresh join token.", self.config.host_name)


def hold_state(state_dir: Path) -> int:
    """The lock on the state folder, held as long as the descriptor is open."""
    lock = os.open(state_dir / "agent.lock", os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise AlreadyRuns(f"Another worker already runs with {state_dir}.") from None
    return lock
