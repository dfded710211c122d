"""Celery messages as a broken broker would deliver them: twice, three times, late, and in any order."""

from __future__ import annotations

import random
from functools import cache

from celery import Celery
from kombu.exceptions import OperationalError

from tests.faults.host import FakeHost
from tests.faults.site import Site


@cache
def publisher(url: str, prefix: str) -> Celery:
    app = Celery("faults", broker=url, set_as_current=False)
    app.conf.update(broker_transport_options={"global_keyprefix": prefix} if prefix else {}, task_serializer="json")
    return app


def send(site: Site, task: str, queue: str, prefix: str = "", *args: str) -> None:
    publisher(site.valkey.url, prefix).send_task(task, args=args, queue=queue, ignore_result=True)


def send_duplicates(site: Site, hosts: list[FakeHost], rng: random.Random) -> str:
    """Every kind of message three times, shuffled; some name attempts that are long over."""
    wishes = [("jobs.place", "control", ""), ("jobs.reap", "control", "")] * 3
    wishes += [("workers.wake", f"gpu.{host.name}", f"host.{host.name}.") for host in hosts] * 3
    rng.shuffle(wishes)
    try:
        for task, queue, prefix in wishes:
            args = ("00000000-0000-0000-0000-000000000000",) if task == "workers.wake" and rng.random() < 0.5 else ()
            send(site, task, queue, prefix, *args)
    except OperationalError as error:
        return f"the broker took no message: {error}"
    return f"{len(wishes)} messages"
