"""Foreign keys point down the layers that import-linter checks for imports."""

from __future__ import annotations

import tomllib
from pathlib import Path

from django.apps import apps

ROOT = Path(__file__).resolve().parents[2]


def _floor_of_room() -> dict[str, int]:
    """Room -> floor, 0 at the bottom, from the contract in pyproject.toml."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    return {
        room.strip().removeprefix("apps."): floor
        for floor, layer in enumerate(reversed(layers))
        for room in layer.split("|")
    }


def test_foreign_keys_point_down() -> None:
    floors = _floor_of_room()
    seen = 0
    for config in apps.get_app_configs():
        if not config.name.startswith("apps."):
            continue
        for model in config.get_models():
            for field in model._meta.get_fields():
                target = field.related_model
                if not (field.concrete and field.is_relation and hasattr(target, "_meta")):
                    continue
                target_room = target._meta.app_label
                if target_room in floors:
                    seen += 1
                    assert floors[target_room] <= floors[config.label], f"{model.__name__}.{field.name} points up"
    assert seen > 40, "the walk found too few relations to mean anything"


def test_every_room_stands_in_the_layers() -> None:
    floors = _floor_of_room()
    rooms = {path.parent.name for path in (ROOT / "apps").glob("*/__init__.py")}
    assert rooms == set(floors) - {"stackweb"}
