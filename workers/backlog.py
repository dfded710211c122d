"""Samples that the server has not heard yet: the oldest go first, and no more than two hours are kept."""

from __future__ import annotations

import threading
from collections import deque
from itertools import islice
from typing import Any

KEPT = 1440  # two hours of one every 5 s


class Backlog:
    """Safe between the thread that measures and the one that sends."""

    def __init__(self, kept: int = KEPT) -> None:
        self._samples: deque[dict[str, Any]] = deque(maxlen=kept)
        self._lock = threading.Lock()

    def add(self, sample: dict[str, Any]) -> None:
        with self._lock:
            self._samples.append(sample)

    def oldest(self, count: int) -> list[dict[str, Any]]:
        with self._lock:
            return list(islice(self._samples, count))

    def forget(self, sent: list[dict[str, Any]]) -> None:
        """Some of them may have been pushed out meanwhile."""
        gone = {id(sample) for sample in sent}
        with self._lock:
            while self._samples and id(self._samples[0]) in gone:
                self._samples.popleft()

    def __len__(self) -> int:
        return len(self._samples)
