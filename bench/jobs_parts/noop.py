"""Celery alone, to compare with: a task that only says when it began."""

from __future__ import annotations

import os
import time

import redis
from celery import Celery

app = Celery("noop", broker=os.environ["REDIS_URL"])
app.conf.update(task_ignore_result=True, task_default_queue="noop", broker_connection_retry_on_startup=True)
BEGAN = "bench.noop.began"


@app.task(name="noop")
def noop() -> None:
    began = time.time()
    redis.Redis.from_url(os.environ["REDIS_URL"]).rpush(BEGAN, began)
