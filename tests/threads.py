"""A second connection to the database, for what happens at the same moment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from django.db import connection


class Beside:
    """Work on a thread and connection of its own; `end` waits for it and returns what it raised."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._work = work
        self._raised: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self._raised = error
        finally:
            connection.close()

    def until_it_waits(self) -> None:
        """Until it waits for a lock that the test's own transaction holds."""
        pause = threading.Event()
        for _ in range(500):
            with connection.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
                if cursor.fetchone()[0]:
                    return
            pause.wait(0.01)
        raise AssertionError("it did not come to wait")

    def end(self) -> BaseException | None:
        self._thread.join(20)
        assert not self._thread.is_alive()
        return self._raised
