"""Typed reading of one line of `stackweb fit --batch`: every error names the key and the value."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from apps.planning.configs import shape_from_config
from apps.planning.gguf_choice import named_file
from apps.planning.reference import Reference, reference_model
from apps.planning.shapes import CannotEstimate, ModelShape

MOST_BYTES = 10**14  # of a model's files
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


def version(line: Mapping[str, Any]) -> str:
    """engine_version, as text; as a JSON number 0.10 would be 0.1."""
    value = line.get("engine_version")
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise CannotEstimate(f"engine_version is the number {str(value)[:40]}; write it as text, such as '0.10.2'.")
    return text(line, "engine_version")


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


# Other words for a key, as people and other tools write them.
_MEANT = {
    "tp": "tensor_parallel", "pp": "pipeline_parallel", "tensor_parallel_size": "tensor_parallel",
    "pipeline_parallel_size": "pipeline_parallel", "context": "max_model_len", "context_length": "max_model_len",
    "kv_dtype": "kv_cache_dtype", "quantization": "precision", "quant": "precision", "dtype": "precision",
    "gpu_count": "gpus", "batch_size": "micro_batch", "max_seq_length": "seq_len", "sequence_length": "seq_len",
    "rank": "lora_rank",
}  # fmt: skip
_MOST_NAMED = 8


def unread(line: Mapping[str, Any], known: Iterable[str]) -> tuple[str, ...]:
    """A note that names the keys that no reader knows, each with the one that it may have meant; none is an error."""
    keys = set(known)
    names = [str(key)[:40] for key, value in line.items() if key not in keys and value is not None]
    words = [f"{name}{_hint(name.lower(), keys)}" for name in names[:_MOST_NAMED]]
    more = [f"{len(names) - _MOST_NAMED} more"] if len(names) > _MOST_NAMED else []
    return (f"Not read: {', '.join(words + more)}.",) if names else ()


def _hint(name: str, known: set[str]) -> str:
    meant = {other: key for other, key in _MEANT.items() if key in known} | {key: key for key in known}
    near = get_close_matches(name, meant, n=1, cutoff=0.7)
    return f" (did you mean {meant[near[0]]}?)" if near else ""


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
