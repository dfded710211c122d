"""Celery as a doorbell: it only says "look now". Losing every message costs one sweep, never a job."""

from __future__ import annotations

import logging
from functools import cache

from celery import Celery
from django.conf import settings
from django.db import transaction
from kombu.exceptions import OperationalError

from apps.fleet.models import Host

logger = logging.getLogger(__name__)
# A broker that is gone or hangs must not hold up whoever submits a job: one try, in seconds.
IMPATIENT = {
    "socket_connect_timeout": 1.0,
    "socket_timeout": 1.0,
    "max_retries": 1,
    "interval_start": 0.0,
    "interval_step": 0.0,
    "interval_max": 0.0,
}


def schedule_soon() -> None:
    """Lets the scheduler look as soon as this transaction is committed."""
    transaction.on_commit(lambda: _ring(_publisher(""), "jobs.place", "control"))


def wake_host(host: Host) -> None:
    """Lets the host's agent sweep as soon as this transaction is committed."""
    transaction.on_commit(lambda: _ring(_publisher(host.broker_prefix), "workers.wake", host.queue))


def _ring(app: Celery, task: str, queue: str) -> None:
    try:
        app.send_task(task, queue=queue, ignore_result=True, expires=60, retry=False)
    except (OperationalError, OSError) as error:
        logger.warning("The broker did not take %s; the next sweep finds the work: %s", task, error)


@cache
def _publisher(prefix: str) -> Celery:
    """Sends without being a worker; a host's messages carry the host's own key prefix."""
    app = Celery("doorbell", broker=settings.REDIS_URL, set_as_current=False)
    app.conf.update(
        broker_transport_options=IMPATIENT | ({"global_keyprefix": prefix} if prefix else {}),
        accept_content=["json"],
        task_serializer="json",
    )
    return app
