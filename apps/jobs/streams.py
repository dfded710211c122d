"""Server-sent events of one job: its log as it grows, its metrics as they arrive."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connection
from django.http import StreamingHttpResponse

from apps.jobs.attempt_logs import read_log, tail_start
from apps.jobs.models import Attempt, Job

POLL_SECONDS = 1.0
RECHECK_SECONDS = 20.0  # whoever was disabled or signed out reads no further than this
HEARTBEAT_EVERY = 15  # polls without news
MAX_POLLS = 60 * 60 * 6  # the browser reconnects where it left off


def log_stream(
    job: Job, attempt: Attempt | None, offset: int | None, *, may_go_on: Callable[[], bool]
) -> StreamingHttpResponse:
    """Events `log` {offset, text} whose id is the next offset, then `end` when the attempt is over."""
    return _response(_follow(lambda position: _read_log(job, attempt, position), offset, may_go_on))


def metrics_stream(
    job: Job, attempt: Attempt | None, after_pk: int, *, may_go_on: Callable[[], bool]
) -> StreamingHttpResponse:
    """Events `metrics` [[name, step, value], …] whose id is the last point's key, then `end`."""
    return _response(_follow(lambda position: _read_metrics(job, attempt, position or 0), after_pk, may_go_on))


def _response(events: AsyncIterator[str]) -> StreamingHttpResponse:
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingHttpResponse(events, content_type="text/event-stream", headers=headers)


# A reader returns (event name, payload or None when there is nothing new, next position, is it over).
Reading = tuple[str, Any, int | None, bool]


async def _follow(
    read: Callable[[int | None], Reading], position: int | None, may_go_on: Callable[[], bool]
) -> AsyncIterator[str]:
    quiet, asked_at = 0, time.monotonic()
    for _ in range(MAX_POLLS):
        if time.monotonic() - asked_at >= RECHECK_SECONDS:
            if not await sync_to_async(_ask_and_release)(may_go_on):
                return
            asked_at = time.monotonic()
        name, payload, position, is_over = await sync_to_async(_read_and_release)(read, position)
        if payload is not None:
            quiet = 0
            yield f"event: {name}\nid: {position}\ndata: {json.dumps(payload)}\n\n"
            continue
        if is_over:
            yield "event: end\ndata: {}\n\n"
            return
        quiet += 1
        if quiet % HEARTBEAT_EVERY == 0:
            yield ": still here\n\n"
        await asyncio.sleep(POLL_SECONDS)


def _ask_and_release(ask: Callable[[], bool]) -> bool:
    try:
        return ask()
    finally:
        connection.close()


def _read_and_release(read: Callable[[int | None], Reading], position: int | None) -> Reading:
    """A stream lives for hours; it must not keep a database connection between two looks."""
    try:
        return read(position)
    finally:
        connection.close()


def _read_log(job: Job, attempt: Attempt | None, position: int | None) -> Reading:
    attempt = _followed(job, attempt)
    if attempt is None:
        return "log", None, position, Job.objects.get(pk=job.pk).is_over
    start = tail_start(attempt) if position is None else position
    chunk = read_log(attempt, start)
    if chunk:
        text = chunk.decode(errors="replace")
        return "log", {"offset": start, "text": text}, start + len(chunk), False
    return "log", None, start, attempt.ended_at is not None


def _read_metrics(job: Job, attempt: Attempt | None, position: int) -> Reading:
    attempt = _followed(job, attempt)
    if attempt is None:
        return "metrics", None, position, Job.objects.get(pk=job.pk).is_over
    rows = attempt.metric_points.filter(pk__gt=position).order_by("pk")
    points = list(rows.values_list("pk", "name", "step", "value")[:2000])
    if points:
        return "metrics", [list(point[1:]) for point in points], points[-1][0], False
    return "metrics", None, position, attempt.ended_at is not None


def _followed(job: Job, chosen: Attempt | None) -> Attempt | None:
    """The chosen attempt as it is now; without one the newest."""
    if chosen is not None:
        return Attempt.objects.get(pk=chosen.pk)
    return Attempt.objects.filter(job=job).order_by("-epoch").first()
