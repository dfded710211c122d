"""Reports what this host has and how busy it is, in a thread of its own: a GPU driver may hang."""

from __future__ import annotations

import logging
import threading
import time

from workers.client import Refused, Server, Unreachable
from workers.config import WorkerConfig
from workers.inventory import take_inventory, take_sample

logger = logging.getLogger(__name__)
SAMPLE_SECONDS = 5.0
INVENTORY_SECONDS = 300.0


class Observer:
    def __init__(self, config: WorkerConfig, server: Server) -> None:
        self.config = config
        self.server = server
        self.must_stop = False
        self.inventory_at = 0.0
        self.nudge = threading.Event()
        self.thread = threading.Thread(target=self._run, name="observer", daemon=True)

    def start(self) -> None:
        self.thread.start()

    def look_now(self) -> None:
        """Something was installed or downloaded: report the inventory again."""
        self.inventory_at = 0.0
        self.nudge.set()

    def stop(self) -> None:
        self.must_stop = True
        self.nudge.set()

    def _run(self) -> None:
        while not self.must_stop:
            self.nudge.clear()
            try:
                self._report()
            except Unreachable:
                pass  # the sweep says so
            except Refused as refusal:
                logger.error("The server refuses this host's report: %s", refusal.detail)
            except Exception:
                logger.exception("This host could not be measured")
            self.nudge.wait(SAMPLE_SECONDS)

    def _report(self) -> None:
        if time.monotonic() >= self.inventory_at:
            # Set first: a look_now() meanwhile counts.
            self.inventory_at = time.monotonic() + INVENTORY_SECONDS
            try:
                self.report_inventory()
            except Unreachable:
                self.inventory_at = 0.0
                raise
        self.server.telemetry(take_sample(self.config.models_dir))

    def report_inventory(self) -> None:
        """Errors as in Server.call."""
        config = self.config
        self.server.inventory(take_inventory(config.models_dir, config.env_root, use_cgroups=config.use_cgroups))
