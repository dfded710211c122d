"""The worker's Celery: a doorbell with one slot. Nothing runs in it; it only wakes the agent."""

from __future__ import annotations

from celery import Celery

from workers.config import WorkerConfig

# Without Celery's fix-up for Django: where DJANGO_SETTINGS_MODULE is set, it would set Django up beside the agent,
# whose end could then wait for ever for the locks of the logging that is being set up anew.
app = Celery("workers", set_as_current=False, include=["workers.tasks"], fixups=[])
app.conf.update(
    accept_content=["json"],
    task_serializer="json",
    result_serializer="json",
    task_ignore_result=True,
    task_store_errors_even_if_ignored=False,
    worker_pool="solo",
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    worker_enable_remote_control=False,
    worker_send_task_events=False,
    worker_cancel_long_running_tasks_on_connection_loss=True,
    broker_connection_retry=True,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    timezone="UTC",
)


def configure(config: WorkerConfig) -> None:
    """Points the app at this host's own corner of the broker."""
    app.conf.update(
        broker_url=config.broker_url,
        task_default_queue=config.queue,
        broker_transport_options={
            "global_keyprefix": config.broker_prefix,
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
        },
    )
