"""The map of the open-source LLM stack: what serves, trains and measures models, with the source of its facts and the
day they were `read`.

`claimed` facts are the makers' own words of that day; what this installation measured stands beside them on
the Engines page. An archived system keeps its row and is never recommended.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, Literal

Status = Literal["active", "archived"]


@dataclass(frozen=True, slots=True)
class ServingEngine:
    """`formats` and `quantisations` by the planner's names; the flags say what the engine can do.

    `not_on`: hardware -> the quantisations that the engine loads elsewhere but not there.
    """

    name: str
    title: str
    language: str
    key_feature: str
    formats: tuple[str, ...]
    quantisations: tuple[str, ...]
    hardware: tuple[str, ...]  # nvidia, amd, cpu, mac
    speculative_decoding: bool
    prefix_caching: bool
    structured_output: bool
    multi_node: bool
    lora: bool
    high_concurrency: bool
    license: str
    status: Status
    status_note: str
    source: str
    read: date
    not_on: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class TrainingTool:
    name: str
    title: str
    focus: str
    methods: tuple[str, ...]
    gpu_requirement: str
    claimed_memory_saving: str
    ease: str
    license: str
    status: Status
    status_note: str
    source: str
    read: date


@dataclass(frozen=True, slots=True)
class Benchmark:
    """`questions` of the test split; `saturation`: how near the best models are to its ceiling."""

    name: str
    kind: str
    domains: str
    questions: int
    metric: str
    saturation: str
    source: str
    read: date


@dataclass(frozen=True, slots=True)
class Quantisation:
    """`bits` a weight with scales. `retention` of 16-bit quality as published, with its setting; empty: no figure.

    `speed` of decoding against 16 bits in llama.cpp's own table (Llama 3.1 8B; ggml-org/llama.cpp
    tools/quantize/README.md@311c2c9, which does not name the device); None: no figure.
    """

    name: str
    bits: float
    needs: str
    engines: tuple[str, ...]
    retention: str
    source: str
    read: date
    speed: float | None


@dataclass(frozen=True, slots=True)
class OtherSystem:
    """What neither serves nor trains; `here` says what this installation has of it."""

    name: str
    title: str
    role: Literal["models", "format", "evaluation"]
    key_feature: str
    here: str
    status: Status
    status_note: str
    source: str
    read: date


@dataclass(frozen=True, slots=True)
class StackMap:
    serving_engines: tuple[ServingEngine, ...]
    training_tools: tuple[TrainingTool, ...]
    benchmarks: tuple[Benchmark, ...]
    quantisations: tuple[Quantisation, ...]
    other_systems: tuple[OtherSystem, ...]


@cache
def stack_map() -> StackMap:
    """The tables of stack_map.json."""
    tables: dict[str, list[dict[str, Any]]] = json.loads(Path(__file__).with_name("stack_map.json").read_text())
    return StackMap(
        tuple(ServingEngine(**_typed(row)) for row in tables["serving_engines"]),
        tuple(TrainingTool(**_typed(row)) for row in tables["training_tools"]),
        tuple(Benchmark(**_typed(row)) for row in tables["benchmarks"]),
        tuple(Quantisation(**_typed(row)) for row in tables["quantisations"]),
        tuple(OtherSystem(**_typed(row)) for row in tables["other_systems"]),
    )


def _typed(row: dict[str, Any]) -> dict[str, Any]:
    known = {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}
    return known | {"read": date.fromisoformat(row["read"])}
