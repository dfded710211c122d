"""Reports what this host has and how busy it is.

One thread measures at a steady pace, for a GPU driver may hang; another sends, for the network may. What
could not be sent waits in memory.
"""

from __future__ import annotations

import logging
import threading
import time

from workers.backlog import Backlog
from workers.client import Refused, Server, Unreachable
from workers.config import WorkerConfig
from workers.inventory import take_inventory, take_sample

logger = logging.getLogger(__name__)
SAMPLE_SECONDS = 5.0
INVENTORY_SECONDS = 300.0
BATCH = 120  # samples a call: ten minutes, 30 kB or so for each GPU


class Observer:
    def __init__(self, config: WorkerConfig, server: Server, sample_seconds: float = SAMPLE_SECONDS) -> None:
        self.config = config
        self.server = server
        self.sample_seconds = sample_seconds
        self.backlog = Backlog()
        self.inventory_at = 0.0
        self.peer_address = ""  # at which other hosts may copy models from this one
        self.end = threading.Event()
        self.nudge = threading.Event()
        self.meter = threading.Thread(target=self._measure, name="meter", daemon=True)
        self.thread = threading.Thread(target=self._run, name="observer", daemon=True)

    def start(self) -> None:
        self.meter.start()
        self.thread.start()

    def look_now(self) -> None:
        """Something was installed or downloaded: report the inventory again."""
        self.inventory_at = 0.0
        self.nudge.set()

    def stop(self) -> None:
        self.end.set()
        self.nudge.set()

    def _measure(self) -> None:
        due = time.monotonic()
        while not self.end.wait(max(0.0, due - time.monotonic())):
            try:
                self.backlog.add(take_sample(self.config.models_dir))
            except Exception:
                logger.exception("This host could not be measured")
            self.nudge.set()
            due = max(due + self.sample_seconds, time.monotonic())  # no burst after a hang

    def _run(self) -> None:
        while not self.end.is_set():
            self.nudge.wait(self.sample_seconds)
            self.nudge.clear()
            try:
                self.report()
            except Unreachable:
                pass  # the sweep says so
            except Refused as refusal:
                logger.error("The server refuses this host's report: %s", refusal.detail)
            except Exception:
                logger.exception("This host could not be reported")

    def report(self) -> None:
        """The inventory when it is due, then every sample that waits. Errors as in Server.call."""
        if time.monotonic() >= self.inventory_at:
            # Set first: a look_now() meanwhile counts.
            self.inventory_at = time.monotonic() + INVENTORY_SECONDS
            try:
                self.report_inventory()
            except Unreachable:
                self.inventory_at = 0.0
                raise
        while batch := self.backlog.oldest(BATCH):
            try:
                self.server.telemetry(batch)
            except Refused:
                self.backlog.forget(batch)  # it would be refused again, and hold up what follows
                raise
            self.backlog.forget(batch)

    def report_inventory(self) -> None:
        """Errors as in Server.call."""
        config = self.config
        found = take_inventory(
            config.models_dir, config.env_root, use_cgroups=config.use_cgroups, peer_address=self.peer_address
        )
        self.server.inventory(found)
