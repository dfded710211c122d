"""Runs the Celery consumer beside the agent. Without a broker the agent sweeps, so nothing here may fail it."""

from __future__ import annotations

import logging
import threading

from celery.worker import WorkController

from workers.app import app, configure
from workers.config import WorkerConfig

logger = logging.getLogger(__name__)
FIRST_PAUSE_SECONDS = 2.0
LONGEST_PAUSE_SECONDS = 60.0


def start_doorbell(config: WorkerConfig) -> None:
    """A daemon thread: it holds nothing that would have to be put down, so it ends with the process."""
    if config.broker_url:
        configure(config)
        threading.Thread(target=_listen_for_ever, args=(config,), name="doorbell", daemon=True).start()


def _listen_for_ever(config: WorkerConfig) -> None:
    pause = FIRST_PAUSE_SECONDS
    while True:
        try:
            controller = WorkController(
                app=app,
                hostname=f"stackweb@{config.host_name}",
                queues=[config.queue],
                pool_cls="solo",
                concurrency=1,
                without_gossip=True,
                without_mingle=True,
                without_heartbeat=True,
            )
            controller.start()
        except Exception as error:
            logger.warning("The broker's consumer ended: %s. Sweeping goes on.", error)
        threading.Event().wait(pause)
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
