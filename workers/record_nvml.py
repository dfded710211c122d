"""Records what NVML answers on this host, so that tests can replay it on a machine without a GPU.

    python -m workers.record_nvml OUT [--seconds N]

One JSON object a line. The first says where the recording is from; each further one is
`{"t": seconds, "calls": {"nvmlDeviceGetName(gpu0)": value, ...}}` with the calls that answered otherwise than
before. An error is `{"error": NVML's code}`; handles are named gpu0, gpu1 and so on.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pynvml

from workers import nvml
from workers.gpus import list_gpus, sample_gpus

PREFIXES = ("nvmlInit", "nvmlSystem", "nvmlDevice")


def nvml_functions() -> list[str]:
    """Names of what may be asked of NVML."""
    return [name for name in dir(pynvml) if name.startswith(PREFIXES) and callable(getattr(pynvml, name))]


class Recorder:
    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}  # since the last take()
        self._known: dict[str, Any] = {}
        self._handles: dict[Any, str] = {}

    @contextmanager
    def listening(self) -> Iterator[None]:
        plain = {name: getattr(pynvml, name) for name in nvml_functions()}
        for name, function in plain.items():
            setattr(pynvml, name, self._listen(name, function))
        try:
            yield
        finally:
            for name, function in plain.items():
                setattr(pynvml, name, function)

    def take(self) -> dict[str, Any]:
        """What answered otherwise than at the last take."""
        changed = {call: value for call, value in self.answers.items() if self._known.get(call, ...) != value}
        self._known |= changed
        self.answers = {}
        return changed

    def _listen(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def ask(*arguments: Any) -> Any:
            call = f"{name}({', '.join(str(self._handles.get(_address(each), each)) for each in arguments)})"
            try:
                value = function(*arguments)
            except pynvml.NVMLError as error:
                self.answers[call] = {"error": error.value}
                raise
            self.answers[call] = self._name(value) if "Handle" in name else _plain(value)
            return value

        return ask

    def _name(self, handle: Any) -> str:
        return self._handles.setdefault(_address(handle), f"gpu{len(self._handles)}")


def _address(value: Any) -> Any:
    """Of a handle, which is a pointer; anything else is itself."""
    return ctypes.cast(value, ctypes.c_void_p).value if isinstance(value, ctypes._Pointer) else value


def _plain(value: Any) -> Any:
    """Numbers and texts of an answer; of a structure its fields."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, ctypes.Structure):
        names = [str(each[0]) for each in getattr(value, "_fields_", ())]
        return {name: _plain(getattr(value, name)) for name in names}
    if hasattr(value, "__dict__"):
        return {name: _plain(each) for name, each in vars(value).items()}
    return value if isinstance(value, int | float | str | None) else str(value)


def record(out: Path, *, source: str, seconds: float, pause: Callable[[float], None] = time.sleep) -> int:
    """Asks everything once a second and writes the answers; how many GPUs answered at the end."""
    recorder = Recorder()
    nvml.end()  # so that the recording has its beginning
    with recorder.listening(), out.open("w") as file:
        file.write(json.dumps({"format": 1, "source": source}) + "\n")
        for second in range(int(seconds) + 1):
            found = list_gpus()
            sample_gpus()
            file.write(json.dumps({"t": second, "calls": recorder.take()}) + "\n")
            if second < int(seconds):
                pause(1.0)
    return len(found)


def main() -> int:
    parser = argparse.ArgumentParser(description="Records what NVML answers on this host.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=float, default=20)
    asked = parser.parse_args()
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    count = record(asked.out, source="recorded", seconds=asked.seconds)
    if not count:
        asked.out.unlink()
        sys.stderr.write("No GPU answers here: nothing was recorded.\n")
        return 1
    sys.stdout.write(f"{count} GPUs in {asked.out}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
