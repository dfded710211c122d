"""Axolotl's program prints a fine-tune's step time; Axolotl and its libraries are stood in for."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from apps.engines.adapters.axolotl import PROGRAM, Axolotl


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Any:
    fields: dict[str, dict[str, Any]] = {
        "axolotl": {}, "axolotl.cli": {}, "axolotl.cli.main": {"main": None},
        "transformers": dict.fromkeys(("Trainer", "TrainerControl", "TrainerState", "TrainingArguments"), object)
        | {"TrainerCallback": object},
        "torch": {"cuda": SimpleNamespace(is_available=lambda: False)},
    }  # fmt: skip
    for name, given in fields.items():
        module = ModuleType(name)
        vars(module).update(given)
        monkeypatch.setitem(sys.modules, name, module)
    spec = importlib.util.spec_from_file_location("axolotl_run", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def measured(
    program: Any, capsys: pytest.CaptureFixture[str], times: list[float], *, resumed_from: int = 0
) -> dict[str, float]:
    """What the engine's lines tell of a run that looks at its clock at these times: begin, each step's end, end."""
    clock: Iterator[float] = iter(times)
    program.time = SimpleNamespace(monotonic=lambda: next(clock))
    lines, state = program.StepLines(), SimpleNamespace(global_step=resumed_from, max_steps=9)
    lines.on_train_begin(None, state, None)
    for _ in times[1:-1]:
        lines.on_step_end(None, state, None)
    lines.on_train_end(None, state, None)
    found: dict[str, float] = {}
    for line in capsys.readouterr().out.splitlines():
        event = Axolotl().read_line(line)
        found |= event.measurements if event else {}
    return found


def test_the_middle_step_counts_without_warm_up_and_saving(program: Any, capsys: pytest.CaptureFixture[str]) -> None:
    found = measured(program, capsys, [0, 60, 62, 64, 66.5, 100, 104])
    assert found["step_seconds"] == pytest.approx(2.25)
    assert found["train_seconds"] == 104


def test_a_resumed_run_does_not_tell_a_part_of_its_time_as_the_whole(
    program: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    found = measured(program, capsys, [0, 60, 62, 64, 70], resumed_from=5)
    assert ("train_seconds" in found, found["step_seconds"]) == (False, pytest.approx(2))


def test_one_step_tells_no_time(program: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert "step_seconds" not in measured(program, capsys, [0, 60, 61])
