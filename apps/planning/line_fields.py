"""Typed reading of one line of `stackweb fit --batch`: every error names the key and the value."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from apps.planning.configs import shape_from_config
from apps.planning.gguf_choice import named_file
from apps.planning.reference import Reference, reference_model
from apps.planning.shapes import CannotEstimate, ModelShape

_LONGEST_TEXT = 300


def number(line: Mapping[str, Any], key: str, *, least: float, most: float) -> float | None:
    """The number under `key`, or None where it is missing or null. Text such as "0.9" counts."""
    value = line.get(key)
    if value is None or value == "":
        return None
    figure = _figure(value)
    if figure is None or not least <= figure <= most:
        raise CannotEstimate(f"{key} is {str(value)[:40]!r}; it must be a number from {least:g} to {most:g}.")
    return figure


def _figure(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        figure = float(value)
    except (ValueError, OverflowError):
        return None
    return figure if math.isfinite(figure) else None


def whole(line: Mapping[str, Any], key: str, *, least: int = 1, most: int = 10**9) -> int | None:
    figure = number(line, key, least=least, most=most)
    if figure is not None and figure != int(figure):
        raise CannotEstimate(f"{key} is {figure:g}; it must be a whole number.")
    return None if figure is None else int(figure)


def text(line: Mapping[str, Any], key: str) -> str:
    value = line.get(key)
    if value is None:
        return ""
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return _short(key, str(value))
    raise CannotEstimate(f"{key} is {str(value)[:40]!r}; it must be text.")


def _short(key: str, value: str) -> str:
    """Names are short; what is not would take long to search."""
    if len(value) > _LONGEST_TEXT:
        raise CannotEstimate(
            f"{key} starts with {value[:40]!r} and has {len(value):,} characters; it must be short text."
        )
    return value


def flag(line: Mapping[str, Any], key: str) -> bool | None:
    value = line.get(key)
    if value is None or isinstance(value, bool):
        return value
    if value in (0, 1) or str(value).lower() in ("true", "false", "yes", "no"):
        return str(value).lower() in ("1", "true", "yes")
    raise CannotEstimate(f"{key} is {str(value)[:40]!r}; it must be true or false.")


def model_of(line: Mapping[str, Any]) -> tuple[ModelShape, Reference | None, Mapping[str, Any]]:
    """Shape, catalogue row if the model was named, and config. Raises CannotEstimate for neither."""
    config = line.get("config")
    if config is not None:
        if not isinstance(config, Mapping):
            raise CannotEstimate("config must be a config.json object.")
        return shape_from_config(config), None, config
    name = text(line, "model_id") or text(line, "model")
    if not name:
        raise CannotEstimate("Give model_id, a model of the reference catalogue, or config, a config.json object.")
    found = reference_model(named_file(name)[0])
    shape = shape_from_config(found.config)
    if found.is_sibling:
        note = f"{name} is not in the reference catalogue; it is taken to be built like {found.model_id}."
        shape = replace(shape, confidence="low", notes=(*shape.notes, note))
    return shape, found, found.config
