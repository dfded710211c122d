"""A recording of workers.record_nvml as NVML: the moment is chosen by the test, what was not recorded is an error."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pynvml

from workers.record_nvml import nvml_functions

TRACE = Path(__file__).parent / "data" / "nvml_trace.jsonl"


class Replay:
    def __init__(self, path: Path = TRACE) -> None:
        self.header, *self.ticks = [json.loads(line) for line in path.read_text().splitlines()]
        self.answers: dict[str, Any] = {}
        self.go_to(0)

    def go_to(self, second: float) -> None:
        self.answers = {}
        for tick in self.ticks:
            if tick["t"] <= second:
                self.answers |= tick["calls"]

    def install(self, put: Callable[[Any, str, Any], None]) -> None:
        """Replaces pynvml's functions with `put`, such as monkeypatch.setattr."""
        for name in nvml_functions():
            put(pynvml, name, self._function(name))
        put(pynvml, "nvmlShutdown", lambda: None)

    def _function(self, name: str) -> Callable[..., Any]:
        def ask(*arguments: Any) -> Any:
            value = self.answers.get(
                f"{name}({', '.join(map(str, arguments))})", {"error": pynvml.NVML_ERROR_NOT_SUPPORTED}
            )
            if isinstance(value, dict) and "error" in value:
                raise pynvml.NVMLError(value["error"])
            return _structured(value)

        return ask


def _structured(value: Any) -> Any:
    if isinstance(value, list):
        return [_structured(each) for each in value]
    return SimpleNamespace(**value) if isinstance(value, dict) else value
