"""The one Celery task: somebody rang."""

from __future__ import annotations

from queue import SimpleQueue

from workers.app import app

# SimpleQueue.put may be called from a signal handler too, which an Event's set may not.
BELL: SimpleQueue[str] = SimpleQueue()


def wake(attempt: str = "") -> None:
    """Lets the agent look for work now; the attempt is only a hint."""
    BELL.put(attempt)


app.task(wake, name="workers.wake", ignore_result=True)
