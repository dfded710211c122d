"""The Celery consumer against a real broker."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

from celery import Celery

from tests.workers.conftest import ROOT, Worker, script
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


def test_it_sets_no_django_up_where_its_settings_are_named() -> None:
    """The end of the process could then wait for ever for the logging that a thread is setting up."""
    code = (
        "import sys; from workers.app import app; app.loader.init_worker(); "
        "apps = sys.modules.get('django.apps'); print(apps is not None and apps.apps.ready)"
    )
    named = os.environ | {"DJANGO_SETTINGS_MODULE": "stackweb.settings"}
    done = subprocess.run([sys.executable, "-c", code], env=named, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
