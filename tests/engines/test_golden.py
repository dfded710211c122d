"""Every engine's exact command for recorded specs; STACKWEB_WRITE_GOLDEN=1 writes the commands anew."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from apps.engines.adapters.axolotl import PROGRAM
from apps.engines.base import Placement, RunSpec
from apps.engines.registry import ENGINES, get_engine

GOLDEN = Path(__file__).parent / "golden"
SPECS = sorted(GOLDEN.glob("*/*.spec.json"))


def rendered(path: Path) -> dict[str, Any]:
    given = json.loads(path.read_text())
    spec, placement = RunSpec.model_validate(given["spec"]), Placement.model_validate(given["placement"])
    command = get_engine(spec.engine).command(spec, placement).model_dump()
    program = PROGRAM.read_text()
    command["files"] = {
        name: "<apps/engines/programs/axolotl_run.py>" if text == program else text
        for name, text in command["files"].items()
    }
    return command


@pytest.mark.parametrize("path", SPECS, ids=lambda path: f"{path.parent.name}-{path.name[:-10]}")
def test_command_is_the_recorded_one(path: Path) -> None:
    expected = path.with_name(path.name.replace(".spec.json", ".command.json"))
    if os.environ.get("STACKWEB_WRITE_GOLDEN"):
        expected.write_text(json.dumps(rendered(path), indent=1) + "\n")
    assert rendered(path) == json.loads(expected.read_text())


def test_every_kind_of_engine_has_a_golden_command() -> None:
    recorded = {path.parent.name for path in SPECS}
    assert set(ENGINES) - recorded == {"fake-train"}  # the fakes share one command()


@pytest.mark.parametrize("name", ENGINES)
def test_a_preview_renders_with_placeholders_alone(name: str) -> None:
    payload = {
        "tasks": ["t"], "dataset": "d.jsonl", "source": "hub:a/b", "folder": "/models/tiny", "engine": "vllm",
        "variant": "cpu",
    }  # fmt: skip
    engine = get_engine(name)
    spec = RunSpec(kind=engine.kind, engine=name, payload=payload)
    assert engine.command(spec, Placement()).argv[0].startswith("<env_prefix>/bin/")


@pytest.mark.parametrize("name", ENGINES)
def test_options_describe_themselves_for_the_form(name: str) -> None:
    schema = get_engine(name).Options.model_json_schema()
    assert schema["additionalProperties"] is False
    assert all("title" in field and "default" in field for field in schema.get("properties", {}).values())


@pytest.mark.parametrize("path", [path for path in SPECS if path.parent.name in ("vllm", "lm-eval", "axolotl")])
def test_engines_stay_on_this_host_and_in_their_folder(path: Path) -> None:
    given = json.loads(path.read_text())
    env = rendered(path)["env"]
    assert env["HOME"] == given["placement"]["work_dir"]
    assert env["HF_HOME"].startswith(given["placement"]["work_dir"])
    assert env["CUDA_VISIBLE_DEVICES"] == ",".join(map(str, given["placement"].get("devices", [])))
    online = given["spec"].get("options", {}).get("allow_downloads", False)
    assert ("HF_HUB_OFFLINE" in env) is not online
