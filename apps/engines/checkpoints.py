"""Which checkpoints of a training run that was cut off are whole, so that the next one may go on from them. Pure.

The layout is that of Hugging Face's Trainer: folders `checkpoint-<step>` with weights, optimizer, schedule, random
state and, written last, trainer_state.json. The order is not believed: after a power loss any of them may be short.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

from apps.engines.file_headers import BadHeader
from apps.engines.safetensors_header import read_safetensors_file

PREFIX = "checkpoint-"
STATE = "trainer_state.json"
ADAPTER, MODEL, INDEX = "adapter_model.safetensors", "model.safetensors", "model.safetensors.index.json"
# Without either of them the Trainer loads neither, and begins with an optimizer that has forgotten everything.
ARCHIVES = ("optimizer.pt", "scheduler.pt")
RANDOM_STATES = "rng_state*.pth"  # one for each process


@dataclass(frozen=True)
class Checkpoint:
    step: int
    path: Path


def newest_checkpoint(folder: Path) -> Checkpoint | None:
    """The one with the most steps among the whole ones right under `folder`."""
    found = sorted(_named(folder), key=lambda each: each.step, reverse=True)
    return next((each for each in found if is_whole(each)), None)


def _named(folder: Path) -> Iterator[Checkpoint]:
    for path in folder.glob(f"{PREFIX}*"):
        step = path.name.removeprefix(PREFIX)
        if step.isascii() and step.isdecimal():
            yield Checkpoint(int(step), path)


def is_whole(checkpoint: Checkpoint) -> bool:
    """Everything that a run needs to go on is there, to its last byte as far as headers and endings tell."""
    folder = checkpoint.path
    try:
        return (
            _object(folder / STATE).get("global_step") == checkpoint.step
            and all(_parses(path) for path in folder.glob("*.json"))  # tools add some of their own
            and _has_weights(folder)
            and all(_opens(folder / name) for name in ARCHIVES)
            and _has_random_state(folder)
        )
    except (OSError, ValueError, RecursionError, BadHeader, BadZipFile):
        return False


def _has_weights(folder: Path) -> bool:
    """An adapter with its configuration, one file, or every shard with the tensors that the index says. Raises."""
    if (folder / ADAPTER).exists():
        return bool(_object(folder / "adapter_config.json")) and bool(read_safetensors_file(folder / ADAPTER))
    if not (folder / INDEX).exists():
        return bool(read_safetensors_file(folder / MODEL))
    homes = _object(folder / INDEX).get("weight_map")
    if not isinstance(homes, dict) or not all(isinstance(name, str) for name in homes.values()):
        return False
    held = {name: read_safetensors_file(folder / name) for name in set(homes.values())}
    return bool(homes) and all(tensor in held[name] for tensor, name in homes.items())


def _has_random_state(folder: Path) -> bool:
    states = list(folder.glob(RANDOM_STATES))
    return bool(states) and all(_opens(path) for path in states)


def _opens(path: Path) -> bool:
    """What torch saves is a zip archive, whose table stands at its end: a file cut off has none. Raises."""
    with ZipFile(path) as archive:
        return bool(archive.namelist())


def _parses(path: Path) -> bool:
    """Raises."""
    json.loads(path.read_text())
    return True


def _object(path: Path) -> dict[str, Any]:
    loaded = json.loads(path.read_text())
    if not isinstance(loaded, dict):
        raise ValueError(f"{path.name} holds no object.")
    return loaded
