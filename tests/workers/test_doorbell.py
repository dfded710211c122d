"""The Celery consumer against a real broker."""

from __future__ import annotations

from collections.abc import Callable

from celery import Celery

from tests.workers.conftest import Worker, script
from tests.workers.protocol_server import ProtocolServer


def test_a_ring_is_answered_before_the_next_sweep(
    redis_url: str, make_worker: Callable[..., Worker], server: ProtocolServer
) -> None:
    worker = make_worker(broker_url=redis_url, broker_prefix="h1:", sweep_seconds=300)
    worker.start()
    server.wait(lambda: server.samples)  # its first sweep found nothing
    held = server.add(script("print('done')"))
    app = Celery("ringer", broker=redis_url, set_as_current=False)
    app.conf.broker_transport_options = {"global_keyprefix": "h1:"}
    with app.connection_for_write() as connection:
        app.send_task("workers.wake", queue="gpu.h1", ignore_result=True, connection=connection)
    server.wait(lambda: held.finish)
    assert worker.end() == 0
